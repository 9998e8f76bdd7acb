"""Shared parts of the tests of bad input: projects with a bad job of tests/faults/, and a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import fission as package
from tests.e2e.support import finish, network
from tests.waiting import CommandLine, Finished

FAULTS = Path(__file__).parent.parent / "faults"
#: Runs beside every bad job, as something to lose: jobs 1 and 2.
GOOD = 'Count(outputs=[PicklePipe(1), PicklePipe(2)]), CSVSinkJob("kept.csv", inputs=[PicklePipe(2)]),'
#: A network without a fault.
RIGHT = GOOD + "Show(inputs=[PicklePipe(1)])"


def bad_project(fission: CommandLine, fault: str, listed: str, files: Mapping[str, str] | None = None, config: str = "") -> Path:
    """Create a project whose network net has the jobs of a file of tests/faults/ as net.bad."""
    text = (FAULTS / f"{fault}.py").read_text(encoding="utf-8") if fault else ""
    return fission.project(network("", listed, extra=f"from net.bad import *\n{config}") | {"net/bad.py": text} | dict(files or {}))


def folder(fission: CommandLine, *path: str) -> Path:
    return fission.root.joinpath("net", "simulation", *path)


def simulate(fission: CommandLine, exit_code: int) -> Finished:
    """Simulate net to its end; check that it leaves nothing and shows none of our own code."""
    client = fission.start("net", "simulate", env={"PYTHONFAULTHANDLER": None})
    client.end_input()
    done = finish(client, fission.root, exit_code)
    assert str(Path(package.__file__).parent) not in done.stderr, done
    assert "bug in FISSION" not in done.stderr, done
    return done


def through(job: str, pipe: str = "PicklePipe(3)", *, last: str = "Show") -> str:
    """Return a job between the good source and a job that shows its output."""
    return f"{job}(inputs=[PicklePipe(1)], outputs=[{pipe}]), {last}(inputs=[{pipe}])"


EXECUTABLE = """
class Program(ExecutableJob):
    DEPENDENCIES = "net/source"
    EXECUTABLE = "{executable}"
"""


def program(
    fission: CommandLine, text: str | bytes | None, *, mode: int = 0o755, executable: str = "./program", pipe: str = "PicklePipe(3)"
) -> None:
    """Create a project whose job 3 is an executable with this text."""
    bad_project(fission, "", f"{GOOD} {through('Program', pipe)}", {"net/source/other.txt": ""}, EXECUTABLE.format(executable=executable))
    if text is not None:
        path = fission.root / "net/source/program"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
