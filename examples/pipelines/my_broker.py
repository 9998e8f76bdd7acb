"""python3 my_broker.py: a Broker. On another machine, with the Router's address instead of localhost."""

from logging import Formatter, Logger, StreamHandler
from sys import stdout

from file_store import SimpleFileStore
from pypelinin import Broker


def main():
    logger = Logger("Broker")
    handler = StreamHandler(stdout)
    handler.setFormatter(Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)

    broker = Broker(
        api="tcp://localhost:5555",
        broadcast="tcp://localhost:5556",
        store_class=SimpleFileStore,
        workers="workers",
        logger=logger,
        number_of_workers=2,
    )
    broker.start()


if __name__ == "__main__":
    main()
