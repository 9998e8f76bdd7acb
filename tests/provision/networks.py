"""A network for boards: squares of numbers, each of which must arrive once and in order."""

from __future__ import annotations

from collections.abc import Sequence

from tests.provision.boards import Board, Boards
from tests.waiting import MANAGE

CONFIG = """
from fission.core.jobs import CSVSinkJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe
from counters.jobs.jobs import CountJob, SquareJob

JOBS = [
    CountJob(outputs=[PicklePipe(1)]),
    SquareJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob(path="squares.csv", inputs=[PicklePipe(2)]),
]
REMOTE_ROOT = "/home/pi/fission"
ALLOCATION_TIMEOUT = 120
"""
JOBS = """
import time
from fission.core.jobs import PythonJob

class CountJob(PythonJob):
    CHECKPOINT = 20
    def setup(self):
        self.number = 0
    def run(self):
        time.sleep(0.01)
        self.number += 1
        if self.number == LIMIT:
            self.finish()
        return self.number

class SquareJob(PythonJob):
    def run(self, number):
        return number * number
"""


def write_network(boards: Boards, limit: int, *, client_ip: str = "", nodes_on: Sequence[Board] = ()) -> None:
    """Write the network `counters` into the project; it ends after this many blocks (0: never).

    ``client_ip``: default: this machine; ``nodes_on``: boards that are nodes; default: all.
    """
    nodes = ", ".join(f"BaseNode({board.ip!r}, name={board.name!r})" for board in nodes_on or boards)
    config = f"{CONFIG}CLIENT_IP = {(client_ip or boards.network.client_ip)!r}\nNODES = [{nodes}]\n"
    jobs = JOBS.replace("LIMIT", str(limit))
    for path, text in {"config.py": config, "__init__.py": "", "jobs/__init__.py": "", "jobs/jobs.py": jobs}.items():
        target = boards.project / "counters" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    (boards.project / "manage.py").write_text(MANAGE)


def rows(boards: Boards) -> list[str]:
    """Return what the sink has written, without the header."""
    path = boards.project / "counters" / "local" / "3" / "squares.csv"
    return path.read_text().split()[1:] if path.is_file() else []


def squares(count: int) -> list[str]:
    return [str(number * number) for number in range(1, count + 1)]
