"""Orders through Dask: each gets an answer, or an error when its connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from distributed import Worker

from fission.adapters.cluster.archive_sender import ArchiveSender
from fission.adapters.cluster.members import Member
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.adapters.cluster.tasks import ServicePlugin
from fission.errors import EngineError
from fission.ports import Archive, NodeName
from fission.protocol.messages.client_to_node import DismissNode, Order, ReadLog
from fission.protocol.messages.node_to_client import LogTail, OrderDone, OrderRefused
from fission.protocol.messages.order_envelopes import unwrap_order, wrap_answer
from tests.ports import free_ports

IP = "127.0.0.1"
DEADLINE_S = 20.0
WAITS = DismissNode(run="r")
#: What the service answers when it is asked for these logs, and what the client makes of it.
ANSWERS: dict[str, Any] = {
    "of another order": wrap_answer(OrderDone()),
    "malformed": {"message": b'{"type":"log_tail","text":1}'},
    "older": {"log": "text"},
    "older refusal": {"error": "the node does not know the order 'log'"},
    "text": "text",
}
ERRORS = {
    "of another order": "its answer must be LogTail, but is OrderDone",
    "malformed": "malformed message",
    "older": "of another version of FISSION",
    "older refusal": "the node does not know the order 'log'",
    "text": "of another version of FISSION",
}


def with_worker(folder: Path, scenario: Callable[[DaskScheduler, Worker, list[Order]], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with a scheduler and a worker whose service records its orders, and answers only `ReadLog`."""

    async def main() -> None:
        orders: list[Order] = []

        async def handle(envelope: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
            order = unwrap_order(envelope)
            orders.append(order)
            if not isinstance(order, ReadLog):
                await asyncio.Event().wait()
            return ANSWERS.get(order.network) or wrap_answer(LogTail(text=order.network))

        scheduler = DaskScheduler(IP, free_ports(1)[0], None, None)
        await scheduler.open(lambda worker: None, lambda worker: None)
        assert scheduler._scheduler is not None
        address = scheduler._scheduler.address
        try:
            plugin = ServicePlugin(handle)
            async with Worker(
                address, nthreads=10, host=IP, dashboard=False, memory_limit=0, local_directory=folder, plugins=(plugin,)
            ) as one:
                await asyncio.wait_for(scenario(scheduler, one, orders), DEADLINE_S)
        finally:
            await scheduler.close()

    asyncio.run(main())


def test_an_answer(tmp_path: Path) -> None:
    async def scenario(scheduler: DaskScheduler, worker: Worker, orders: list[Order]) -> None:
        assert await scheduler.ask(worker.address, ReadLog(network="room"), LogTail) == LogTail(text="room")
        assert await scheduler.ask(worker.address, WAITS, OrderDone, wait=0.05) == OrderRefused(error="no answer for 0.05 s")

    with_worker(tmp_path, scenario)


def test_wrong_answers_are_refusals(tmp_path: Path) -> None:
    """An answer that is malformed, of another version, or of the wrong type is a refusal; nothing is raised."""

    async def scenario(scheduler: DaskScheduler, worker: Worker, orders: list[Order]) -> None:
        for name, error in ERRORS.items():
            found = await scheduler.ask(worker.address, ReadLog(network=name), LogTail)
            assert isinstance(found, OrderRefused), name
            assert error in found.error

    with_worker(tmp_path, scenario)


@pytest.mark.parametrize("arrived", [False, True])
def test_a_worker_that_leaves_before_it_answers(tmp_path: Path, arrived: bool) -> None:
    """This holds even if the scheduler receives the order after the worker has gone: Dask would keep it for ever."""

    async def scenario(scheduler: DaskScheduler, worker: Worker, orders: list[Order]) -> None:
        asking = asyncio.ensure_future(scheduler.ask(worker.address, WAITS, OrderDone, wait=None))
        await asyncio.sleep(0)  # it is submitted, and Dask has not sent it yet
        while arrived and not orders:
            await asyncio.sleep(0.001)
        await scheduler.remove(worker.address)
        with pytest.raises(EngineError):
            await asking
        with pytest.raises(EngineError, match="not connected"):
            await scheduler.ask(worker.address, ReadLog(network="room"), LogTail, wait=None)

    with_worker(tmp_path, scenario)


def test_an_archive_in_transit_is_sent_again(tmp_path: Path) -> None:
    """All that wait for it get the error of the broken connection; the node is not blamed."""

    async def scenario(scheduler: DaskScheduler, worker: Worker, orders: list[Order]) -> None:
        sender, member = ArchiveSender(scheduler), Member(NodeName("n"), IP, "service", "lease", 1, 1, worker=worker.address)
        archive = Archive("digest", b"content")
        waiting = [asyncio.ensure_future(sender.install(member, archive)) for _ in range(2)]
        while not orders:
            await asyncio.sleep(0.001)
        await scheduler.remove(worker.address)
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in found] == [EngineError] * 2
        assert len(orders) == 1
        assert member.archives == {}
        await sender.close()

    with_worker(tmp_path, scenario)
