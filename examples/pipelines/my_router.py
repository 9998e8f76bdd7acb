"""python3 my_router.py: the Router, reachable from other machines too. One for the whole cluster."""

from logging import Formatter, Logger, StreamHandler
from sys import stdout

from pypelinin import Router


def main():
    logger = Logger("My Router")
    handler = StreamHandler(stdout)
    handler.setFormatter(Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)

    api_host_port = ("*", 5555)
    broadcast_host_port = ("*", 5556)
    configuration = {"store": {"monitoring filename": "monitoring.log"}, "monitoring interval": 60}
    Router(api_host_port, broadcast_host_port, configuration, logger).start()


if __name__ == "__main__":
    main()
