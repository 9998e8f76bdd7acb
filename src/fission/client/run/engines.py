"""Two engines as one: this machine's own for local jobs, and the one that reaches the nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from fission.adapters.cluster.engine import DaskEngine
from fission.adapters.local_engine import LocalEngine
from fission.ports import EngineEvent, JobBundle, JobId, NodeName, NodeState, Place, Seconds


class Engines:
    """`fission.ports.Engine` of a run over several machines."""

    def __init__(self, local: LocalEngine, far: DaskEngine, home: NodeName, place: Place) -> None:
        """Args: local: hosts the client's own node. far: hosts all others. home: name of the client's own node. place: what its jobs are
        told of it; their folders are as in their bundles.
        """
        self.local, self.far = local, far
        self._home, self._place = home, place

    async def open(self) -> None:
        """Start both."""
        results = await asyncio.gather(self.local.open(), self.far.open(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def nodes(self) -> Mapping[NodeName, NodeState]:
        """The nodes of both."""
        return {**self.local.nodes(), **self.far.nodes()}

    async def events(self) -> AsyncIterator[EngineEvent]:
        """What happens to either, as it comes."""
        queue: asyncio.Queue[EngineEvent] = asyncio.Queue()

        async def feed(engine: LocalEngine | DaskEngine) -> None:
            async for event in engine.events():
                queue.put_nowait(event)

        feeders = [asyncio.create_task(feed(engine)) for engine in (self.local, self.far)]
        try:
            while True:
                yield await queue.get()
        finally:
            for feeder in feeders:
                feeder.cancel()

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        """Start a job where its node is."""
        if node != self._home:
            await self.far.launch(job, node)
            return
        own = self._place
        place = Place(job.folder, job.sys_path, job.log_file, own.run_folder, own.ip, own.keys)
        await self.local.launch(job.at(place), node)

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        """Bring a snapshot to where its node is."""
        await (self.local if node == self._home else self.far).bring(job, incarnation, node, name, pieces)

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        """Stop a life where its node is."""
        await (self.local if node == self._home else self.far).stop(job, incarnation, node, grace=grace)

    def stopped(self, node: NodeName) -> bool | None:
        """Ask the engine that has the node."""
        return (self.local if node == self._home else self.far).stopped(node)

    def absence(self, node: NodeName) -> str:
        """As the engine of the nodes says."""
        return self.far.absence(node)

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        """Ask the engine that has the node."""
        return await (self.local if node == self._home else self.far).look(job, incarnation, node)

    async def lost(self, node: NodeName) -> None:
        """Tell the engine that has the node."""
        if node != self._home:
            await self.far.lost(node)

    async def close(self) -> None:
        """End both."""
        await asyncio.gather(self.local.close(), self.far.close())
