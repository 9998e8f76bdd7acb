"""Job processes of this machine, on any number of virtual nodes, each with its own fork server.

The client and a fork server communicate over a socket pair; when either dies, the other reads the
end of the stream: the fork server kills its jobs and removes the run folder, the client reports the
node as lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import pickle
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from fission.adapters.local_engine.kernel import STANDING, STOPPED, process_state
from fission.adapters.local_engine.node import Node
from fission.adapters.local_engine.running_job import READ_BYTES, Running, Stream
from fission.adapters.local_engine.starting import FORK_SERVER_CODE, ForkServerStart, failures, remarks
from fission.errors import EngineError, InternalError, UserError
from fission.ports import (
    NODE_FAULT,
    EngineEvent,
    EngineNode,
    EngineNotice,
    JobBundle,
    JobExited,
    JobId,
    JobOutput,
    NodeGone,
    NodeName,
    NodePulse,
    Place,
    Seconds,
    job_payload,
)
from fission.posix import descendants
from fission.protocol.messages.client_to_fork_server import ForkChild, SignalChild, encoded_request
from fission.protocol.messages.fork_server_to_client import (
    FORK_SERVER_TO_CLIENT,
    AnyReport,
    ChildForked,
    ForkRefused,
    ForkServerPulse,
    ForkServerReady,
)
from fission.protocol.messages.process_to_engine import ProcessReport
from fission.protocol.splitter import MAX_STREAM_MESSAGE, Splitter

#: Largest bundle in bytes: the request precedes it in the message.
MOST_BUNDLE = MAX_STREAM_MESSAGE - (64 << 10)
#: Seconds that a fork server may take to start; arbitrary, ten times what a slow board needs.
START_S = 20.0
#: Seconds that it may take if it imports the modules of PRELOAD; arbitrary, a multiple of what the largest known ones need.
PRELOAD_S = 120.0
#: Seconds that a fork server has to end its jobs before it is killed. Arbitrary.
END_S = 5.0
#: Seconds between attempts to restart a fork server after the system has refused it. Arbitrary.
REVIVE_AGAIN_S = 0.5
log = logging.getLogger("fission.engine")


class LocalEngine:
    """`fission.ports.Engine` on this machine."""

    def __init__(
        self,
        run_folder: str,
        nodes: Sequence[NodeName] = (NodeName("client"),),
        preload: Sequence[str] = (),
        pulse_interval_s: float = 0.1,
        cleanup: tuple[str, str] = ("", ""),
        title: str = "",
        program: str = FORK_SERVER_CODE,
        user_modules: Sequence[str] = (),
    ) -> None:
        """Prepare; `open` starts the fork servers.

        Args:
            run_folder: temporary folder of the run; a fork server removes it if this process dies.
            nodes: names of the virtual nodes.
            preload: modules that the fork servers load before they fork; none of the user's.
            pulse_interval_s: seconds between two pulses of a node.
            cleanup: import string of a function and its argument; a fork server calls it if this
                process dies.
            title: purpose of the fork servers, which `ps` shows before the node's name.
            program: code that a fork server's interpreter runs.
            user_modules: the user's modules (PRELOAD) that the fork servers of these nodes import.
        """
        self._start = ForkServerStart(run_folder, tuple(preload), pulse_interval_s, cleanup, title, program)
        self._run_folder = run_folder
        self._names, self._user_modules = tuple(nodes), tuple(user_modules)
        self._nodes: dict[NodeName, Node] = {}
        self._gone: list[Node] = []  # earlier incarnations of nodes that were revived
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._notices: dict[str, None] = {}  # what was reported about PRELOAD
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        limit_s = PRELOAD_S if self._user_modules else START_S
        try:
            for name in self._names:
                self._nodes[name] = self._start_fork_server(name, self._user_modules)
            await asyncio.wait([node.ready for node in self._nodes.values()], timeout=limit_s)
            for node in self._nodes.values():
                if not node.ready.done():
                    doing = f", in which it imports PRELOAD ({', '.join(self._user_modules)})" if self._user_modules else ""
                    raise OSError(f"no report from that of node {node.name} for {limit_s:g} s{doing}")
                if failed := failures(node.ready.result()):
                    raise UserError(f"{'; '.join(failed)}; correct that, or remove it from PRELOAD")
        except OSError as why:
            await self.close()
            raise EngineError(f"a fork server did not start: {why}") from None
        except BaseException:
            await self.close()
            raise

    def _start_fork_server(self, name: NodeName, user_modules: tuple[str, ...]) -> Node:
        process, channel = self._start.start(name, user_modules)
        node = Node(name, process, channel, user_modules)
        asyncio.get_running_loop().add_reader(channel.fileno(), self._on_channel, node)
        return node

    def add_node(self, name: NodeName, user_modules: Sequence[str]) -> None:
        """Start another virtual node, whose fork server imports modules first.

        Jobs that are launched meanwhile start when it has. What there is to say about the modules is
        an `EngineNotice`; a module that cannot be imported is left out.

        Args:
            name: its name, which no node had before.
            user_modules: names of the modules.

        Raises:
            OSError: the system refuses the process.
        """
        self._notices.clear()
        node = self._nodes[name] = self._start_fork_server(name, tuple(user_modules))
        node.late = asyncio.get_running_loop().call_later(PRELOAD_S, node.process.kill)

    def end_node(self, name: NodeName) -> None:
        """End a node of `add_node` with its jobs, of which nothing more is reported."""
        node = self._nodes.pop(name)
        node.leave()
        task = asyncio.ensure_future(self._end(node))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, node: Node) -> None:
        if node.loaded:
            node.signal(signal.SIGTERM)  # unlike the end of its socket, this lets it keep the run folder
        else:
            self._sweep(node)  # what a module has started
            node.process.kill()
        try:
            await asyncio.to_thread(node.process.wait, END_S)
        except subprocess.TimeoutExpired:
            node.process.kill()
            await asyncio.to_thread(node.process.wait)
        self._sweep(node)
        node.hang_up()

    @property
    def notices(self) -> Sequence[str]:
        """Return what the events have said about the user's modules, once each."""
        return tuple(self._notices)

    def nodes(self) -> Mapping[NodeName, EngineNode]:
        return {
            name: EngineNode(name, "127.0.0.1", frozenset(job for job, _ in node.running))
            for name, node in self._nodes.items()
            if not node.lost
        }

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self._events.get()

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        self.host(job.job_id, job.incarnation, pickle.dumps(job), node)

    def host(self, job: JobId, incarnation: int, bundle: bytes, node: NodeName, place: Place | None = None) -> None:
        """Launch a job like `launch`, for callers that must not unpickle the bundle.

        Args:
            job: id of the job.
            incarnation: incarnation of the job.
            bundle: pickled `JobBundle`; only the job's own process unpickles it.
            node: node that runs the job.
            place: place where the job works, unless the bundle names it.

        Raises:
            EngineError: the node did not accept the order.
        """
        if len(bundle) > MOST_BUNDLE:
            text = f"the pickled job, with all its attributes, must have at most {MOST_BUNDLE} bytes, but has {len(bundle)}"
            report = ProcessReport(outcome="failed", hopeless=True, error=f"{text}; load large data in setup")
            self._events.put_nowait(JobExited(job, incarnation, 1, report))
            return
        there = self._node(node)
        running = Running(job, incarnation)
        try:
            theirs = running.open_pipes()
        except OSError as why:
            self._events.put_nowait(_refusal(job, incarnation, f"no pipes for its output: {why}"))
            return
        request = encoded_request(ForkChild(key=(job, incarnation)), job_payload(bundle, place))
        try:
            there.send(Splitter.join(request), theirs)
        except OSError as why:
            running.close()
            raise EngineError(f"node {node} did not accept the order to start job {job}: {why}") from None
        there.running[job, incarnation] = running
        for stream in running.streams:
            asyncio.get_running_loop().add_reader(stream.descriptor, self._on_output, stream)

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        """Do nothing: jobs of this machine read the client's own files."""

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        place = self._node(node)
        running = place.running.get((job, incarnation))
        if running is None:
            return
        if grace > 0:
            self._request(place, running.signal(signal.SIGTERM))
        if running.killer is not None:
            running.killer.cancel()
        kill = running.signal(signal.SIGKILL)
        running.killer = asyncio.get_running_loop().call_later(max(0.0, grace), self._request, place, kill)

    def stopped(self, node: NodeName) -> bool:
        return process_state(self._node(node).process.pid) in STOPPED

    def absence(self, node: NodeName) -> str:
        """Return an empty text: nodes of this machine are present, or their loss is an event."""
        return ""

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        running = self._node(node).running.get((job, incarnation))
        return STANDING.get(process_state(running.process), "") if running is not None and running.process else ""

    async def lost(self, node: NodeName) -> None:
        """Do nothing: no order waits here."""

    async def follow(self, on: bool) -> None:
        """Do nothing: the output of this machine's jobs is always reported."""

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        """Return nothing: jobs of this machine write to the client's own log."""
        return {}

    async def dismiss(self) -> None:
        """Kill all jobs; their exits are events."""
        for node in self._nodes.values():
            for job, incarnation in list(node.running):
                await self.stop(job, incarnation, node.name, grace=0)

    # faults that tests and `simulate` inject into jobs and nodes

    def kill_job(self, job: JobId) -> bool:
        """Kill every incarnation of a job as the system would; return whether there was any."""
        killed = [running for node in self._nodes.values() for (number, _), running in node.running.items() if number == job]
        return sum(running.signal_group(signal.SIGKILL) for running in killed) > 0

    def kill_node(self, name: NodeName) -> bool:
        """Simulate a power failure of a virtual node; return whether the node was running.

        Its fork server and all its jobs are killed at once.
        """
        node = self._node(name)
        there = not node.lost and node.signal(signal.SIGKILL)
        for running in node.running.values():
            running.signal_group(signal.SIGKILL)
        return there

    async def revive(self, name: NodeName) -> None:
        """Restart a lost virtual node as a new incarnation."""
        if self._node(name).lost and not self._closed:
            before = self._nodes[name]
            while not self._closed:
                try:
                    # a module that ended the process before would do so again
                    started = self._start_fork_server(name, before.user_modules if before.loaded else ())
                except OSError as why:  # no memory, no descriptors: the cause of the previous loss may persist for a while
                    log.warning("node %s: its fork server did not start: %s; retrying", name, why)
                    await asyncio.sleep(REVIVE_AGAIN_S)
                    if self._nodes.get(name) is not before:
                        break  # it was ended meanwhile
                    continue
                self._gone.append(before)
                self._nodes[name] = started
                started.incarnation = before.incarnation + 1
                break

    def freeze(self, name: NodeName) -> None:
        """Freeze a virtual node with all its jobs, until `thaw`."""
        node = self._node(name)
        node.frozen = True
        node.signal(signal.SIGSTOP)
        for running in node.running.values():
            running.signal_group(signal.SIGSTOP)

    def thaw(self, name: NodeName) -> None:
        """Let a frozen virtual node continue, jobs first: it is not aware of the pause."""
        node = self._node(name)
        node.frozen = False
        for running in node.running.values():
            running.signal_group(signal.SIGCONT)
        node.signal(signal.SIGCONT)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*self._ending)
        for node in self._nodes.values():
            node.cancel_late()
            if node.frozen:  # it would not notice that the client is gone
                self.kill_node(node.name)
            node.hang_up()  # its fork server kills all jobs, removes the run folder and exits
            node.signal(signal.SIGCONT)  # someone may have stopped it: it would not notice
            if not node.ready.done():
                node.ready.cancel()
                node.process.kill()  # it is still loading and has no jobs: nothing is gained by waiting
            for running in node.running.values():
                running.close()
            node.running.clear()
        for node in [*self._nodes.values(), *self._gone]:
            try:
                await asyncio.to_thread(node.process.wait, END_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
                self._sweep(node)

    def _sweep(self, node: Node) -> None:
        """Kill what is left of the jobs of a killed fork server, whatever session it is in."""
        descendants.kill_descendants(node.process.pid, f"{self._run_folder}:{node.process.pid}:")

    def _node(self, name: NodeName) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            raise InternalError(f"no node {name}; there are {sorted(self._nodes)}") from None

    def _request(self, node: Node, request: SignalChild) -> None:
        with contextlib.suppress(OSError):  # a lost fork server has no jobs left; its loss is an event
            node.send(Splitter.join(encoded_request(request)))

    def _on_channel(self, node: Node) -> None:
        try:
            data = node.channel.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as why:
            data = b"" if why.errno == errno.ECONNRESET else _reraise(why)
        if not data:
            self._on_lost(node)
            return
        for message in () if node.leaving else node.splitter.feed(data):
            self._on_report(node, FORK_SERVER_TO_CLIENT.decode(message))

    def _on_report(self, node: Node, report: AnyReport) -> None:
        if isinstance(report, ForkServerReady):
            node.cancel_late()
            node.loaded = True
            if not node.ready.done():
                node.ready.set_result(report)
            self._notice(*(f"{text}; its jobs start without it" for text in failures(report)), *remarks(report))
        elif isinstance(report, ForkServerPulse):
            self._events.put_nowait(NodePulse(node.name, node.incarnation))
        else:
            job, incarnation = report.key
            if isinstance(report, ChildForked):
                node.running[JobId(job), incarnation].process = report.process
            elif isinstance(report, ForkRefused):
                node.running.pop((JobId(job), incarnation)).close()
                self._events.put_nowait(_refusal(JobId(job), incarnation, report.cause))
            else:
                self._on_exit(node, node.running.pop((JobId(job), incarnation)), report.code)

    def _notice(self, *texts: str) -> None:
        for text in texts:
            if text not in self._notices:
                self._notices[text] = None
                self._events.put_nowait(EngineNotice(text))

    def _on_lost(self, node: Node) -> None:
        node.hang_up()
        node.cancel_late()
        if node.leaving:
            return
        text = ""
        if not node.loaded and node.user_modules:
            self._sweep(node)
            text = f"PRELOAD names a module that ends the process that imports it, one of {', '.join(node.user_modules)}"
            self._notice(f"{text}; jobs start without them")
        if not node.ready.done():
            ended: Exception = OSError(f"that of node {node.name} {node.how_ended()}; a message of its own is above")
            node.ready.set_exception(UserError(f"{text}; remove it from PRELOAD") if text else ended)
            node.ready.exception()  # `open` may have failed or been cancelled; nothing awaits the start of a revived or added node
        node.lost = True
        for running in node.running.values():
            self._drain(running)
            running.close()
            # jobs end by themselves with all the processes they have started, unless they are stopped
            below = descendants.descendants_of(running.process) if running.process else []
            running.signal_group(signal.SIGKILL)
            descendants.kill(below)
        self._sweep(node)
        node.running.clear()
        self._events.put_nowait(NodeGone(node.name, "its fork server died", node.incarnation))

    def _on_output(self, stream: Stream) -> None:
        lines, more = stream.read()
        if lines:
            self._events.put_nowait(JobOutput(stream.job, stream.name, lines))
        if not more and not lines:
            asyncio.get_running_loop().remove_reader(stream.descriptor)

    def _drain(self, running: Running) -> None:
        for output in running.last_output():
            self._events.put_nowait(output)

    def _on_exit(self, node: Node, running: Running, code: int) -> None:
        self._drain(running)
        report = running.read_report()
        running.close()
        self._events.put_nowait(JobExited(running.job, running.incarnation, code, report))


def _refusal(job: JobId, incarnation: int, cause: str) -> JobExited:
    return JobExited(job, incarnation, 1, ProcessReport(outcome=NODE_FAULT, error=cause))


def _reraise(why: OSError) -> bytes:
    raise why
