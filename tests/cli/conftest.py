"""The command line in this process, with a client that only records its calls."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fission
from fission.cli.main import main
from fission.client.run import faults
from fission.ports import Observer
from fission.project.config import LoadedNetwork

CONFIG = """\
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe


class SourceJob(PythonJob):
    def run(self):
        yield 1


class SinkJob(PythonJob):
    def run(self, value):
        print(value)


JOBS = [SourceJob(outputs=[PicklePipe(1)]), SinkJob(inputs=[PicklePipe(1)])]
"""


class FakeSummary:
    """Stands for the client's summary."""

    exit_code = 0

    def lines(self) -> list[str]:
        return ["2 jobs finished"]

    def to_json(self) -> dict[str, int]:
        return {"jobs": 2}


class FakeClient(types.ModuleType):
    """Stands for `fission.client`.

    Attributes:
        calls: the calls that it has recorded.
        behave: what `simulate` does; it may raise.
    """

    def __init__(self) -> None:
        super().__init__("fission.client")
        self.calls: list[Any] = []
        self.behave: Callable[[Observer], None] = lambda observer: None
        self.summary = FakeSummary()
        self.parse_kill, self.parse_cut, self.parse_chaos = faults.parse_kill, faults.parse_cut, faults.parse_chaos

    def simulate(
        self, loaded: LoadedNetwork, *, duration: float | None, observer: Observer, stdin: bool = True, **options: Any
    ) -> FakeSummary:
        self.calls.append((loaded.name, duration))
        self.behave(observer)
        return self.summary

    def send_lines(self, folder: Path, job_id: int, lines: Iterable[str], *, end: bool = False) -> None:
        self.calls.append((folder, job_id, list(lines), *(["end"] if end else [])))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setitem(sys.modules, "fission.client", fake)
    monkeypatch.setattr(fission, "client", fake, raising=False)
    return fake


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with the network ``net``, as current folder; sys.path and sys.modules are restored at the end."""
    (tmp_path / "manage.py").write_text("# fission")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "__init__.py").touch()
    (tmp_path / "net" / "config.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path) + os.sep):
            del sys.modules[name]


class Outcome:
    """The exit code and the output of one command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs one command line in this process."""

    def run(*args: str, **options: Any) -> Outcome:
        capsys.readouterr()
        code = main(list(args), **options)
        return Outcome(code, *capsys.readouterr())

    return run
