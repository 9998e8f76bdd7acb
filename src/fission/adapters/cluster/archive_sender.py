"""Sends code and dependencies to the nodes: once per content and connection, in pieces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.members import Member
from fission.adapters.cluster.scheduler import DaskScheduler
from fission.errors import EngineError
from fission.ports import Archive
from fission.protocol.messages.client_to_node import InstallArchive, StoreSnapshot
from fission.protocol.messages.node_to_client import ArchiveProgress, OrderDone, OrderRefused

#: Bytes of the largest piece of an archive; arbitrary, far below the size of which Dask warns.
PIECE_BYTES = 4 << 20

SnapshotState: TypeAlias = 'Literal["more", "whole", "lost"]'

log = logging.getLogger("fission.cluster")


class ArchiveSender:
    """Sends archives to nodes that do not have them."""

    def __init__(self, dask: DaskScheduler) -> None:
        """Prepare.

        Args:
            dask: scheduler that reaches the nodes.
        """
        self._dask = dask
        self._sending: set[asyncio.Future[str]] = set()
        self._bringing: dict[tuple[str, int, int, str], asyncio.Future[None]] = {}

    async def close(self) -> None:
        """Stop sending."""
        await end_all([*self._sending, *self._bringing.values()])

    async def bring(self, member: Member, archive: Archive) -> None:
        """Send an archive in advance; a failure is logged, and retried when a job needs it."""
        try:
            error = await self.install(member, archive)
        except EngineError as why:
            error = str(why)
        if error:
            log.warning("node %s received no files in advance: %s", member.name, error)

    async def install(self, member: Member, archive: Archive) -> str:
        """Send an archive to a node once; return when the node has it.

        The result is the node's error, or "".

        Raises:
            EngineError: there is no connection, or it broke during the transfer.
        """
        known = member.archives.get(archive.digest)
        if known is None:
            known = member.archives[archive.digest] = asyncio.ensure_future(self._send(member, archive))
            self._sending.add(known)
            known.add_done_callback(self._sending.discard)
            known.add_done_callback(lambda sent: _forget_unless_there(member, archive.digest, sent))
        return await asyncio.shield(known)

    def bring_snapshot(self, member: Member, first: StoreSnapshot, pieces: Iterator[bytes]) -> None:
        """Send a snapshot to the incarnation that has requested it; duplicate requests are merged.

        A failure is logged, and the incarnation asks again.

        Args:
            member: node of the incarnation.
            first: order for the first piece.
            pieces: pieces of the snapshot.
        """
        key = (member.lease, first.job, first.incarnation, first.name)
        if key not in self._bringing:
            self._bringing[key] = asyncio.ensure_future(self._bring_snapshot(member, first, pieces))
            self._bringing[key].add_done_callback(lambda done: self._bringing.pop(key, None))

    async def _bring_snapshot(self, member: Member, order: StoreSnapshot, pieces: Iterator[bytes]) -> None:
        start, piece = 0, b""
        state: SnapshotState = "more"
        while state == "more":
            try:
                piece, state = await asyncio.to_thread(_next, pieces)
            except Exception as why:  # a damaged or unreadable file ends the job, not the client
                piece, state = str(why).encode("utf-8", "backslashreplace"), "lost"
            order = msgspec.structs.replace(order, start=start, state=state)
            try:
                answer = await self._dask.ask(member.worker, order, OrderDone, piece, wait=None)
            except EngineError as why:
                answer = OrderRefused(error=str(why))
            if isinstance(answer, OrderRefused):
                log.warning("node %s did not store a snapshot of job %s: %s", member.name, order.job, answer.error)
                return
            start += len(piece)

    async def _send(self, member: Member, archive: Archive) -> str:
        size = len(archive.content)
        for start in range(0, size, PIECE_BYTES):
            order = InstallArchive(digest=archive.digest, start=start, size=size)
            answer = await self._dask.ask(member.worker, order, ArchiveProgress, archive.content[start : start + PIECE_BYTES], wait=None)
            if isinstance(answer, OrderRefused):
                return answer.error
            if answer.complete:
                break
        return ""


def _next(pieces: Iterator[bytes]) -> tuple[bytes, SnapshotState]:
    """Return about `PIECE_BYTES` more bytes, and whether more follow."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            return b"".join(found), "more"
    return b"".join(found), "whole"


def _forget_unless_there(member: Member, digest: str, sent: asyncio.Future[str]) -> None:
    """Forget an archive that did not arrive, so that the next job that needs it resends it."""
    arrived = not sent.cancelled() and sent.exception() is None and not sent.result()
    if not arrived and member.archives.get(digest) is sent:
        del member.archives[digest]
