"""Brings code and dependencies to the nodes: once for each content and connection, in pieces."""

from __future__ import annotations

import asyncio
import logging

from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.members import Member
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.errors import EngineError
from fission.ports import Archive

#: Largest piece in which an archive travels, in bytes; arbitrary, far below what Dask warns of.
PIECE_BYTES = 4 << 20

log = logging.getLogger("fission.cluster")


class Stocker:
    """Sends archives to nodes that do not have them."""

    def __init__(self, dask: DaskScheduler) -> None:
        """Args: dask: reaches the nodes."""
        self._dask = dask
        self._sending: set[asyncio.Future[str]] = set()

    async def close(self) -> None:
        """Send nothing more."""
        await end_all(self._sending)

    async def bring(self, member: Member, archive: Archive) -> None:
        """Send an archive in advance: what fails is logged, and tried again when a job needs it."""
        try:
            error = await self.install(member, archive)
        except EngineError as why:
            error = str(why)
        if error:
            log.warning("node %s got nothing in advance: %s", member.name, error)

    async def install(self, member: Member, archive: Archive) -> str:
        """Return when a node has an archive, whoever has it sent: why it cannot take it, or "".

        Raises:
            EngineError: there is no connection, or it broke on the way.
        """
        known = member.have.get(archive.digest)
        if known is None:
            known = member.have[archive.digest] = asyncio.ensure_future(self._send(member, archive))
            self._sending.add(known)
            known.add_done_callback(self._sending.discard)
            known.add_done_callback(lambda sent: _forget_unless_there(member, archive.digest, sent))
        return await asyncio.shield(known)

    async def _send(self, member: Member, archive: Archive) -> str:
        for start in range(0, len(archive.content), PIECE_BYTES):
            order = {"do": "install", "digest": archive.digest, "start": start, "size": len(archive.content)}
            answer = await self._dask.ask(member.worker, order, archive.content[start : start + PIECE_BYTES], wait=None)
            if "error" in answer:
                return str(answer["error"])
            if answer.get("have"):
                break
        return ""


def _forget_unless_there(member: Member, digest: str, sent: asyncio.Future[str]) -> None:
    """The next job that needs what did not arrive has it sent again."""
    arrived = not sent.cancelled() and sent.exception() is None and not sent.result()
    if not arrived and member.have.get(digest) is sent:
        del member.have[digest]
