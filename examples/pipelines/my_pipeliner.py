"""python3 my_pipeliner.py: a Pipeliner."""

from logging import Formatter, Logger, StreamHandler
from sys import stdout

from pypelinin import Pipeliner


def main():
    logger = Logger("Pipeliner")
    handler = StreamHandler(stdout)
    handler.setFormatter(Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)

    Pipeliner(api="tcp://localhost:5555", broadcast="tcp://localhost:5556", logger=logger).start()


if __name__ == "__main__":
    main()
