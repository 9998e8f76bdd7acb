"""Small projects for the tests of loading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fission.errors import ConfigError
from fission.project.config import LoadedNetwork, load

JOBS = """\
from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    def __init__(self, start=1, step=1, **kwargs):
        super().__init__(**kwargs)
        self.value = start
        self.step = step

    def run(self):
        while True:
            yield self.value
            self.value += self.step


class JoinJob(PythonJob):
    def run(self, a, b):
        return a + b


class SinkJob(PythonJob):
    def run(self, value):
        print(value)


class PickyJob(PythonJob):
    def __init__(self, **kwargs):
        raise ValueError("not today")

    def run(self):
        return 1
"""
PIPES = """\
from fission.core.pipes import PicklePipe


class ReducePipe(PicklePipe):
    BLOCK_COUNT = 5
"""
HEAD = """\
from fission.core.jobs import CSVSinkJob
from fission.core.nodes import BaseNode, MultiNode
from fission.core.pipes import BytesPipe, PicklePipe
from net.jobs.jobs import JoinJob, SinkJob, SourceJob
from net.pipes.pipes import ReducePipe
"""
PAIR = "JOBS = [SourceJob(outputs=[PicklePipe(1)]), SinkJob(inputs=[PicklePipe(1)])]\n"
FIRST = HEAD.count("\n") + 1  # the line after HEAD


def project(root: Path, config: str, files: Mapping[str, str] | None = None, name: str = "net") -> Path:
    """Make a project in *root* with one network; *config* is its whole config.py."""
    texts = {
        "manage.py": "# fission",
        f"{name}/__init__.py": "",
        f"{name}/config.py": config,
        f"{name}/jobs/__init__.py": "",
        f"{name}/jobs/jobs.py": JOBS,
        f"{name}/pipes/__init__.py": "",
        f"{name}/pipes/pipes.py": PIPES,
        **(files or {}),
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            (root / path).chmod(0o755)
    return root


def loaded(root: Path, config: str, files: Mapping[str, str] | None = None, *, simulation: bool = False) -> LoadedNetwork:
    """Load the network of such a project."""
    return load(project(root, config, files), "net", simulation=simulation)


def faults(root: Path, config: str, files: Mapping[str, str] | None = None, *, simulation: bool = False) -> list[str]:
    """Return all faults of such a project, as shown."""
    with pytest.raises(ConfigError) as caught:
        loaded(root, config, files, simulation=simulation)
    return [str(fault) for fault in caught.value.faults]


def one_fault(root: Path, config: str, files: Mapping[str, str] | None = None, *, simulation: bool = False) -> str:
    """Return the only fault of such a project."""
    (fault,) = faults(root, config, files, simulation=simulation)
    return fault


def shape(network: LoadedNetwork) -> list[tuple[object, ...]]:
    """Return what equivalent definitions of a network have in common: its jobs, their pipes and attributes."""
    return [
        (
            job.name,
            [(str(pipe), pipe.BLOCK_SIZE, pipe.BLOCK_COUNT) for pipe in job.inputs],
            [(str(pipe), pipe.BLOCK_SIZE, pipe.BLOCK_COUNT) for pipe in job.outputs],
            {key: value for key, value in vars(job).items() if key not in ("inputs", "outputs", "_fission_place")},
        )
        for job in network.network.jobs.values()
    ]
