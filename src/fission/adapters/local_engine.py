"""Job processes of this machine, on any number of virtual nodes, each with a zygote of its own.

The client and a zygote speak over a pair of sockets; when one of the two dies, the other meets the end of it: the zygote
kills its jobs and removes the run's folder, the client reports the node as lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fission.errors import EngineError, InternalError
from fission.ports import EngineEvent, JobBundle, JobExited, JobId, JobOutput, NodeLost, NodeName, NodeState, Seconds
from fission.protocol.frames import Splitter

#: Seconds that a zygote may take to start; arbitrary, ten times what a slow board needs.
START_S = 20.0
#: Bytes of a job's output that are taken at once, and at most kept back for the end of a line.
READ_BYTES = 1 << 16
#: Reads that take all that a job can have left in a pipe of the largest size (1 MiB); something that outlives the job may write for ever.
DRAIN_READS = 17
#: What a zygote's interpreter runs. It gets our sys.path as an argument and not by PYTHONPATH, which the jobs and their
#: executables would inherit: a script for another Python would find the wrong standard library.
ZYGOTE_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fission.runtime.zygote import main; sys.exit(main(sys.argv[2:]))"
)


class _Stream:
    """One of a job's output streams: bytes to lines."""

    def __init__(self, job: JobId, name: str, descriptor: int) -> None:
        self.job, self.name, self.descriptor = job, name, descriptor
        self._rest = b""

    def read(self) -> tuple[tuple[str, ...], bool]:
        """Return the whole lines that have come, and whether there may be more."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return (), False
        if not data:
            return self.rest(), False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return tuple(line.decode("utf-8", "replace") for line in lines), True

    def rest(self) -> tuple[str, ...]:
        """Return what is left of a line without an end."""
        rest, self._rest = self._rest, b""
        return (rest.decode("utf-8", "replace"),) if rest else ()


class _Running:
    """One life of a job."""

    def __init__(self, bundle: JobBundle) -> None:
        self.job, self.incarnation = bundle.job_id, bundle.incarnation
        self.streams: list[_Stream] = []
        self.report = -1
        self.killer: asyncio.TimerHandle | None = None


class _Node:
    """A virtual node: a zygote process and its jobs."""

    def __init__(self, name: NodeName, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.name, self.process, self.channel = name, process, channel
        self.splitter = Splitter()
        self.ready = asyncio.get_running_loop().create_future()
        self.running: dict[JobId, _Running] = {}


class LocalEngine:
    """`fission.ports.Engine` on this machine."""

    def __init__(self, run_folder: str, nodes: Sequence[NodeName] = (NodeName("client"),), preload: Sequence[str] = ()) -> None:
        """Prepare; `open` starts the zygotes.

        Args:
            run_folder: the run's temporary folder; a zygote removes it if this process dies.
            nodes: names of the virtual nodes.
            preload: modules that the zygotes load before they fork; none of the user's.
        """
        self._run_folder = run_folder
        self._names = tuple(nodes)
        self._preload = tuple(preload)
        self._nodes: dict[NodeName, _Node] = {}
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._closed = False

    async def open(self) -> None:
        try:
            for name in self._names:
                self._nodes[name] = self._start_zygote(name)
            await asyncio.wait([node.ready for node in self._nodes.values()], timeout=START_S)
            for node in self._nodes.values():
                if not node.ready.done():
                    raise OSError(f"no word from it for {START_S:g} s")
                node.ready.result()
        except OSError as why:
            await self.close()
            raise EngineError(f"a zygote did not start: {why}") from None
        except BaseException:
            await self.close()
            raise

    def _start_zygote(self, name: NodeName) -> _Node:
        ours, theirs = socket.socketpair()
        with theirs:
            path = json.dumps([entry for entry in sys.path if entry])
            command = [sys.executable, "-c", ZYGOTE_CODE, path, str(theirs.fileno()), self._run_folder, *self._preload]
            # a session of its own: a Ctrl-C at the terminal is for the client alone, who then stops the jobs in order
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        node = _Node(name, process, ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_channel, node)
        return node

    def nodes(self) -> Mapping[NodeName, NodeState]:
        return {name: NodeState(name, "127.0.0.1", frozenset(node.running)) for name, node in self._nodes.items()}

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self._events.get()

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        place = self._node(node)
        running = _Running(job)
        theirs: list[int] = []
        for name in ("stdout", "stderr", ""):
            read, write = os.pipe()
            os.set_blocking(read, False)
            theirs.append(write)
            if name:
                running.streams.append(_Stream(job.job_id, name, read))
            else:
                running.report = read
        order = json.dumps({"do": "launch", "job": job.job_id, "incarnation": job.incarnation}).encode()
        message = Splitter.join(order + b"\n" + pickle.dumps(job))
        try:
            sent = socket.send_fds(place.channel, [message], theirs)
            place.channel.sendall(message[sent:])
        except OSError as why:
            raise EngineError(f"node {node} took no order to start job {job.job_id}: {why}") from None
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        place.running[job.job_id] = running
        for stream in running.streams:
            asyncio.get_running_loop().add_reader(stream.descriptor, self._on_output, stream)

    async def stop(self, job: JobId, node: NodeName, *, grace: Seconds) -> None:
        place = self._node(node)
        running = place.running.get(job)
        if running is None:
            return
        if grace > 0:
            self._order(place, {"do": "kill", "job": job, "signal": int(signal.SIGTERM)})
        if running.killer is not None:
            running.killer.cancel()
        kill = {"do": "kill", "job": job, "signal": int(signal.SIGKILL)}
        running.killer = asyncio.get_running_loop().call_later(max(0.0, grace), self._order, place, kill)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        for node in self._nodes.values():
            loop.remove_reader(node.channel.fileno())
            node.channel.close()  # its zygote kills all jobs, removes the run's folder and ends
            if not node.ready.done():
                node.ready.cancel()
                node.process.kill()  # it still loads what it needs: it has no jobs, and nobody wants to wait for that
            for running in node.running.values():
                self._forget(running)
        for node in self._nodes.values():
            try:
                await asyncio.to_thread(node.process.wait, 5.0)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()

    def _node(self, name: NodeName) -> _Node:
        try:
            return self._nodes[name]
        except KeyError:
            raise InternalError(f"no node {name}; there are {sorted(self._nodes)}") from None

    def _order(self, node: _Node, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a zygote that is gone has no jobs left; its loss is an event
            node.channel.sendall(Splitter.join(json.dumps(order).encode()))

    def _on_channel(self, node: _Node) -> None:
        try:
            data = node.channel.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as why:
            data = b"" if why.errno == errno.ECONNRESET else _reraise(why)
        if not data:
            self._on_lost(node)
            return
        for message in node.splitter.feed(data):
            event = json.loads(message)
            if event["event"] == "ready":
                if not node.ready.done():
                    node.ready.set_result(None)
            else:
                self._on_exit(node, event)

    def _on_lost(self, node: _Node) -> None:
        asyncio.get_running_loop().remove_reader(node.channel.fileno())
        if not node.ready.done():
            node.ready.set_exception(OSError("it ended while it started; its message is above"))
        self._events.put_nowait(NodeLost(node.name, "its zygote process died"))

    def _on_output(self, stream: _Stream) -> None:
        lines, more = stream.read()
        if lines:
            self._events.put_nowait(JobOutput(stream.job, stream.name, lines))
        if not more and not lines:
            asyncio.get_running_loop().remove_reader(stream.descriptor)

    def _on_exit(self, node: _Node, event: dict[str, Any]) -> None:
        running = node.running.pop(event["job"])
        for stream in running.streams:
            for _ in range(DRAIN_READS):
                lines, more = stream.read()
                if lines:
                    self._events.put_nowait(JobOutput(stream.job, stream.name, lines))
                if not more:
                    break
            rest = stream.rest()
            if rest:
                self._events.put_nowait(JobOutput(stream.job, stream.name, rest))
        report = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(running.report, READ_BYTES):
                report += chunk
        self._forget(running)
        self._events.put_nowait(JobExited(running.job, running.incarnation, event["code"], _parsed(report)))

    def _forget(self, running: _Running) -> None:
        if running.killer is not None:
            running.killer.cancel()
        for stream in running.streams:
            asyncio.get_running_loop().remove_reader(stream.descriptor)
            os.close(stream.descriptor)
        os.close(running.report)


def _parsed(report: bytes) -> dict[str, Any]:
    try:
        found = json.loads(report)
    except ValueError:
        return {}  # it died before its last word
    return found if isinstance(found, dict) else {}


def _reraise(why: OSError) -> bytes:
    raise why
