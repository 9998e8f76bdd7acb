"""The names of a network's processes in `ps`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.adapters.local_engine import LocalEngine
from fission.core.base import collecting
from tests.faults import lingering
from tests.faults.on_engine import HERE, Ended, run_on_engine


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


def shown(process: int) -> tuple[str, str]:
    """The command line and the name of a process, as `ps` reads them."""
    folder = Path(f"/proc/{process}")
    return (folder / "cmdline").read_bytes().rstrip(b"\0").decode(), (folder / "comm").read_text().strip()


def test_processes_can_be_distinguished(tmp_path: Path) -> None:
    """The network, the job and its id; a child that the job has forked has the same, one that it has started has its own."""
    seen: dict[str, tuple[str, str]] = {}

    def during(engine: LocalEngine, found: dict[int, Ended]) -> bool:
        if all("now" in one.lines["stdout"] for one in found.values()):
            started = shown(int(found[1].lines["stdout"][0].split()[1]))
            if not started[0]:
                return False  # it has forked, and its new command line is not there yet
            node = engine._nodes[HERE]
            seen["fork server"] = shown(node.process.pid)
            for running in node.running.values():
                seen[f"job {running.job}"] = shown(running.process)
            seen["started"] = started
        return bool(seen)

    run_on_engine([lingering.Leaves("session", "wait"), lingering.Leaves("forked", "wait")], tmp_path, during=during, title="net")
    assert seen == {
        "fork server": ("fission: net fork server here", "fission: net fo"),
        "job 1": ("fission: net Leaves 1", "fission: net Le"),
        "job 2": ("fission: net Leaves 2", "fission: net Le"),
        "started": ("sleep\x00600", "sleep"),
    }
