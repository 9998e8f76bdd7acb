"""Dask serves no web pages, neither in the cluster of a network nor in that of pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil

from fission.adapters.cluster.quiet import QuietWorker
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.adapters.dask_pipelines import DaskCluster, _Worker
from tests.ports import free_ports

IP = "127.0.0.1"


def listening() -> set[int]:
    """TCP ports at which this process listens."""
    return {one.laddr.port for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN}


async def answer(port: int) -> bytes:
    """What comes to a request of a browser."""
    reader, writer = await asyncio.open_connection(IP, port)
    try:
        writer.write(b"GET /json/identity.json HTTP/1.1\r\nHost: x\r\n\r\n")
        return await asyncio.wait_for(reader.read(100), 1)
    except (asyncio.TimeoutError, OSError):
        return b""
    finally:
        writer.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_of_a_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = listening()
        (port,) = free_ports(1)
        scheduler = DaskScheduler(IP, port, None, None)
        await scheduler.open(lambda worker: None, lambda worker: None)
        try:
            assert listening() - before == {port}
            async with QuietWorker(f"tcp://{IP}:{port}", nthreads=1, host=IP, dashboard=True, local_directory=str(tmp_path)) as worker:
                own = int(worker.address.rpartition(":")[2])
                assert listening() - before == {port, own}
                for one in (port, own):
                    assert not (await answer(one)).startswith(b"HTTP/")
        finally:
            await scheduler.close()

    run(scenario())


def test_of_pipelines(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = listening()
        cluster = DaskCluster(lambda ends: None)
        port = await cluster.open(IP)
        try:
            assert listening() - before == {port}
            assert not (await answer(port)).startswith(b"HTTP/")
        finally:
            await cluster.close()

    run(scenario())
    assert "start_http_server" in vars(_Worker)  # its end is the end of its process
