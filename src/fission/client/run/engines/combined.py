"""Combines two engines: this machine's for local jobs, and the one that reaches the nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from fission.ports import Engine, EngineEvent, EngineNode, JobBundle, JobId, NodeName, Place, Seconds


class CombinedEngine:
    """`fission.ports.Engine` of a run on several machines."""

    def __init__(self, local: Engine, remote: Engine, home: NodeName, place: Place) -> None:
        """Combine two engines.

        Args:
            local: hosts the client's own node.
            remote: hosts all other nodes.
            home: name of the client's own node.
            place: where jobs work on the client's own node; their folders are those of their
                bundles.
        """
        self._local, self._remote = local, remote
        self._home, self._place = home, place

    def _of(self, node: NodeName) -> Engine:
        return self._local if node == self._home else self._remote

    async def open(self) -> None:
        """Open both engines."""
        results = await asyncio.gather(self._local.open(), self._remote.open(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def nodes(self) -> Mapping[NodeName, EngineNode]:
        """Return the nodes of both engines."""
        return {**self._local.nodes(), **self._remote.nodes()}

    async def events(self) -> AsyncIterator[EngineEvent]:
        """Yield the events of both engines as they happen."""
        queue: asyncio.Queue[EngineEvent] = asyncio.Queue()

        async def feed(engine: Engine) -> None:
            async for event in engine.events():
                queue.put_nowait(event)

        feeders = [asyncio.create_task(feed(engine)) for engine in (self._local, self._remote)]
        try:
            while True:
                yield await queue.get()
        finally:
            for feeder in feeders:
                feeder.cancel()

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        """Start a job; on the client's own node it gets its `Place` here."""
        if node != self._home:
            await self._remote.launch(job, node)
            return
        own = self._place
        place = Place(job.folder, job.sys_path, job.log_file, own.run_folder, own.ip, own.keys)
        await self._local.launch(job.at(place), node)

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        """Bring a snapshot through the node's engine."""
        await self._of(node).bring(job, incarnation, node, name, pieces)

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        """Stop an incarnation through the node's engine."""
        await self._of(node).stop(job, incarnation, node, grace=grace)

    def stopped(self, node: NodeName) -> bool | None:
        """Return the answer of the node's engine."""
        return self._of(node).stopped(node)

    def absence(self, node: NodeName) -> str:
        """Return the answer of the node's engine."""
        return self._of(node).absence(node)

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        """Return the answer of the node's engine."""
        return await self._of(node).look(job, incarnation, node)

    async def lost(self, node: NodeName) -> None:
        """Notify the node's engine."""
        await self._of(node).lost(node)

    async def follow(self, on: bool) -> None:
        """Begin or stop reporting output from other machines."""
        await asyncio.gather(self._local.follow(on), self._remote.follow(on))

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        """Return the logs of the nodes of both engines."""
        return {**await self._local.logs(network), **await self._remote.logs(network)}

    async def dismiss(self) -> None:
        """End the run on the nodes of both engines."""
        await asyncio.gather(self._local.dismiss(), self._remote.dismiss())

    async def close(self) -> None:
        """Close both engines."""
        await asyncio.gather(self._local.close(), self._remote.close())
