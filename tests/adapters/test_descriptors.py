"""Open files: the limit is raised, the network's need is known, and a reserve lets the client write its last files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from fission.adapters.descriptors import MOST, Reserve, attainable, comfortable, needed, raise_limit
from fission.adapters.machine import Means
from tests.waiting import CommandLine


def in_process(code: str) -> str:
    """Return what a separate program prints."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.parametrize(("soft", "hard", "then"), [(256, 4096, 4096), (4096, 4096, 4096), (100, 100, 100)])
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int, then: int) -> None:
    printed = in_process(f"""
        import resource
        from fission.adapters.descriptors import attainable, raise_limit
        resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
        before = attainable()
        print(before, raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    """)
    assert printed == f"{then} {then} {then}"


def test_it_is_not_raised_without_bound() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_limit() <= max(MOST, soft)
        assert attainable() <= MOST
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_reserve_can_be_used_when_nothing_else_is_left() -> None:
    printed = in_process("""
        import os, resource
        from fission.adapters.descriptors import Reserve
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        reserve, taken = Reserve(), []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        reserve.release()
        reserve.release()
        files = [open(os.devnull) for _ in range(8)]
        print(len(files))
    """)
    assert printed == "8"
    assert needed(31) < comfortable(31)


class NoDescriptors:
    """Replaces psutil; its files cannot be opened."""

    def cpu_times(self) -> None:
        raise OSError(24, "Too many open files")


def test_means_without_descriptors_are_the_last_ones() -> None:
    from pathlib import Path

    means = Means(Path("/"))
    assert means.sample(1.0)
    before = means.load()
    means._psutil = NoDescriptors()
    assert not means.sample(2.0)
    assert means.load() == before


@pytest.fixture
def few() -> Iterator[int]:
    """Processes that are started may open so few files."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield 128
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == old


MANY = """
JOBS = [Source(outputs=[PicklePipe(1)]), *(Copy(inputs=[PicklePipe(i)], outputs=[PicklePipe(i + 1)]) for i in range(1, 30)),
        Sink(inputs=[PicklePipe(30)])]
"""
CONFIG = {
    "net/config.py": f"from fission.core.pipes import *\nfrom net.jobs.jobs import *\n{MANY}",
    "net/jobs/jobs.py": "from fission.core.jobs import PythonJob\n"
    "class Source(PythonJob):\n    def run(self):\n        self.finish()\n        return 1\n"
    "class Copy(PythonJob):\n    def run(self, x):\n        return x\n"
    "class Sink(PythonJob):\n    def run(self, x):\n        pass\n",
}


def test_too_few_descriptors_for_a_network_are_reported_and_refused(fission: CommandLine, few: int) -> None:
    """`check` warns, `simulate` starts nothing; with the limit that they name it runs."""
    fission.project(CONFIG)
    limited = lambda limit, *words: subprocess.run(  # noqa: E731
        ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", sys.executable, "manage.py", "net", *words],
        cwd=fission.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    checked = limited(few, "check")
    assert checked.returncode == 0, checked.stderr
    assert f"allows {few}" in checked.stderr
    assert f"ulimit -n {comfortable(31)}" in checked.stderr
    refused = limited(few, "simulate")
    assert refused.returncode == 2
    assert f"allows {few}" in refused.stderr
    assert refused.stderr.count("\n") == 1, "said once, without a traceback"
    assert not os.path.exists(fission.root / "net" / "simulation")
    ran = limited(comfortable(31), "simulate")
    assert ran.returncode == 0, ran.stderr
    assert "allows" not in ran.stderr


def test_the_least_limit_is_enough(fission: CommandLine) -> None:
    fission.project(CONFIG)
    command = ["sh", "-c", f'ulimit -n {needed(31)}; exec "$@"', "sh", sys.executable, "manage.py", "net", "simulate"]
    ran = subprocess.run(command, cwd=fission.root, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_reserve_takes_the_available_descriptors() -> None:
    reserve = Reserve(3)
    assert len(reserve._held) == 3
    reserve.release()
    assert reserve._held == []
