"""Orders through Dask: each comes back with an answer, or with the news that its connection has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
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
from tests.ports import free_ports

IP = "127.0.0.1"
DEADLINE_S = 20.0


def with_worker(folder: Path, story: Callable[[DaskScheduler, Worker, list[dict[str, Any]]], Coroutine[Any, Any, None]]) -> None:
    """Run a story with a scheduler and a worker whose service keeps its orders and answers none but "hello"."""

    async def main() -> None:
        orders: list[dict[str, Any]] = []

        async def obey(order: dict[str, Any], blob: bytes) -> dict[str, Any]:
            orders.append(order)
            if order["do"] != "hello":
                await asyncio.Event().wait()
            return {"said": order["do"]}

        scheduler = DaskScheduler(IP, free_ports(1)[0], None, None)
        await scheduler.open(lambda worker: None, lambda worker: None)
        assert scheduler._scheduler is not None
        address = scheduler._scheduler.address
        try:
            plugin = ServicePlugin(obey)
            async with Worker(
                address, nthreads=10, host=IP, dashboard=False, memory_limit=0, local_directory=folder, plugins=(plugin,)
            ) as one:
                await asyncio.wait_for(story(scheduler, one, orders), DEADLINE_S)
        finally:
            await scheduler.close()

    asyncio.run(main())


def test_an_answer(tmp_path: Path) -> None:
    async def story(scheduler: DaskScheduler, worker: Worker, orders: list[dict[str, Any]]) -> None:
        assert await scheduler.ask(worker.address, {"do": "hello"}) == {"said": "hello"}
        assert await scheduler.ask(worker.address, {"do": "wait"}, wait=0.05) == {"error": "no answer for 0.05 s"}

    with_worker(tmp_path, story)


@pytest.mark.parametrize("arrived", [False, True])
def test_a_worker_that_goes_while_it_is_asked(tmp_path: Path, arrived: bool) -> None:
    """Also where the scheduler hears of the order when the worker is gone already: Dask would keep it for ever."""

    async def story(scheduler: DaskScheduler, worker: Worker, orders: list[dict[str, Any]]) -> None:
        asking = asyncio.ensure_future(scheduler.ask(worker.address, {"do": "wait"}, wait=None))
        await asyncio.sleep(0)  # it is submitted, and Dask has not sent it yet
        while arrived and not orders:
            await asyncio.sleep(0.001)
        await scheduler.remove(worker.address)
        with pytest.raises(EngineError):
            await asking
        with pytest.raises(EngineError, match="not connected"):
            await scheduler.ask(worker.address, {"do": "hello"}, wait=None)

    with_worker(tmp_path, story)


def test_an_archive_that_was_on_its_way_is_sent_again(tmp_path: Path) -> None:
    """Whoever waits for it hears of the broken connection, and does not blame the node."""

    async def story(scheduler: DaskScheduler, worker: Worker, orders: list[dict[str, Any]]) -> None:
        stocker, member = ArchiveSender(scheduler), Member(NodeName("n"), IP, "service", "life", 1, 1, worker=worker.address)
        archive = Archive("digest", b"content")
        waiting = [asyncio.ensure_future(stocker.install(member, archive)) for _ in range(2)]
        while not orders:
            await asyncio.sleep(0.001)
        await scheduler.remove(worker.address)
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in found] == [EngineError] * 2
        assert len(orders) == 1
        assert member.have == {}
        await stocker.close()

    with_worker(tmp_path, story)
