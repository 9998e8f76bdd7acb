"""When a run starts: nodes that have ended before it are not waited for."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fission.adapters.local_engine import LocalEngine
from fission.client.run.nodes.gathering import Gathering
from fission.client.run.nodes.node_watch import NodeWatch
from fission.errors import EngineError
from fission.ports import NodeGone, NodeName

NAMES = ("1", "2", "client")
REASON = "its fork server died"


def gathered(gather_s: float | None = None) -> tuple[NodeWatch, Gathering]:
    """Return the start of a run on virtual nodes, or with ``gather_s`` on machines."""
    engine: Any = SimpleNamespace(stopped=lambda node: False if gather_s is None else None)
    watch = NodeWatch(0.1, engine, lambda node: node == "client", lambda: 0.0)
    for name in NAMES:
        watch.expect(name)
    nodes: Any = type("Nodes", (tuple,), {"all_linked": True})(NAMES)
    return watch, Gathering(nodes, watch, gather_s, lambda: 0.0)


@pytest.mark.parametrize("was_up", [False, True], ids=["before its first pulse", "after it"])
def test_a_virtual_node_that_dies_before_the_start_is_not_waited_for(was_up: bool) -> None:
    watch, gathering = gathered()
    watch.pulse("client", 1)
    if was_up:
        watch.pulse("1", 1)
    watch.gone(NodeGone(NodeName("1"), REASON, 1))
    assert not gathering.may_start()  # node 2 is on its way
    watch.pulse("2", 1)
    assert gathering.may_start()
    assert gathering.missing() == ["1"]
    assert watch.ended("1") == REASON
    assert not watch.ended("2")
    watch.pulse("1", 2)
    assert not watch.ended("1")


def test_machines_that_leave_before_the_start_may_come_back_until_the_time_is_over() -> None:
    watch, gathering = gathered(3.0)
    watch.pulse("client", 1)
    watch.pulse("2", 1)
    watch.gone(NodeGone(NodeName("1"), "its service was stopped", 1))
    assert not gathering.may_start()


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("raise SystemExit(3)", "exited with code 3"),
        ("import os; os.kill(os.getpid(), 9)", r"was killed by signal 9 \(SIGKILL\)"),
    ],
)
def test_fork_servers_that_end_at_their_start_are_one_error(tmp_path: Path, program: str, how: str) -> None:
    others: list[str] = []

    async def start() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: others.append(context["message"]))
        engine = LocalEngine(str(tmp_path), [NodeName(name) for name in NAMES], program=program)
        with pytest.raises(EngineError, match=f"a fork server did not start: that of node [12] {how}; a message"):
            await engine.open()
        gc.collect()  # a future whose exception was never read reports it now

    asyncio.run(start())
    gc.collect()
    assert not others
