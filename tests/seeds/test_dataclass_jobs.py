"""Jobs that are dataclasses or define __eq__: to FISSION, a job equals only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fission.core.base import JOBS
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe
from fission.core.registry import reset
from tests.seeds.old import old_project, python

#: By kind: the decorator of the class, and what the class has in its body.
KINDS = {
    "own eq": ("@dataclass", "def __eq__(self, other):\n        return self is other"),
    "no eq": ("@dataclass(eq=False)", ""),
    "generated eq": ("@dataclass", ""),
    "own hash": ("@dataclass", "def __eq__(self, other):\n        return self is other\n\n    def __hash__(self):\n        return 3"),
}
#: What the comparison of two arrays does, in a field of each job.
JOBS_FILE = """\
from dataclasses import dataclass, field
from fission.core.jobs import LocalJob, PythonJob

class Samples:
    def __eq__(self, other):
        raise ValueError("more than one truth")

MARK
class Microphone(PythonJob):
    gain: int = 1
    samples: Samples = field(default_factory=Samples)
    outputs: list = None
    DEFAULT_NODE: str = None
    DEPENDENCIES: list = None

    def __post_init__(self):
        super().__init__(outputs=self.outputs)

    EQUAL

    def run(self):
        for number in range(3):
            yield self.gain * number

MARK
class Notebook(LocalJob, PythonJob):
    gain: int = 1
    samples: Samples = field(default_factory=Samples)
    inputs: list = None
    DEFAULT_NODE: str = None

    def __post_init__(self):
        super().__init__(inputs=self.inputs)
        self.rows = []

    EQUAL

    def __len__(self):
        return len(self.rows)

    def run(self, *values):
        self.rows = []
        with open("notes.txt", "a") as file:
            file.write(f"{values}\\n")
"""
CONFIG = """\
from fission.core.pipes import PicklePipe
from net.jobs.jobs import Microphone, Notebook
JOBS = [
    Microphone(outputs=[PicklePipe(1), PicklePipe(2)]), Microphone(gain=10, outputs=[PicklePipe(3)]),
    Notebook(inputs=[PicklePipe(1), PicklePipe(3)]), Notebook(inputs=[PicklePipe(2)]),
]
NODES = []
"""


@pytest.mark.parametrize(("decorator", "body"), KINDS.values(), ids=KINDS)
def test_they_run(tmp_path: Path, decorator: str, body: str) -> None:
    jobs = JOBS_FILE.replace("MARK", decorator).replace("EQUAL", body)
    root = old_project(tmp_path, {"net/jobs/jobs.py": jobs, "net/config.py": CONFIG})
    for words in (["check"], ["simulate"]):
        done = python(root, "manage.py", "net", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    notes = [(root / "net" / "simulation" / number / "notes.txt").read_text() for number in ("3", "4")]
    assert notes == ["(0, 0)\n(1, 10)\n(2, 20)\n", "(0,)\n(1,)\n(2,)\n"]


def test_a_hash_of_the_user_s_stays() -> None:
    reset()

    class Own(PythonJob):
        def __eq__(self, other: object) -> bool:
            return self is other

        def __hash__(self) -> int:
            return 3

    class Lost(Own):
        def __eq__(self, other: object) -> bool:
            return self is other

    first, second = Own(outputs=[PicklePipe(1)]), Lost(inputs=[PicklePipe(1)])
    assert hash(first) == 3
    assert {first, second} == {*JOBS.values()}
