"""Random networks in threads of this process.

Hosts, shells and programs are real; queues replace sockets, and a small client stores snapshots.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fission.adapters.memory_links import MemoryNetwork
from fission.client.run.jobs.bundles import waits_for_itself
from fission.core.base import collecting
from fission.core.jobs import ExecutableJob
from fission.core.network import Network
from fission.ports import JobBundle, Wiring
from fission.protocol import frames
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.client_to_job import AcknowledgeEnd, CheckpointStored, ClientToJob, ValueStored
from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, WorkDone
from fission.runtime import report
from fission.runtime.endpoint_shell import EndpointShell, make_shell
from fission.runtime.executable_host import ExecutableHost
from fission.runtime.job_process import LINGER_S
from fission.runtime.python_host import PythonHost
from tests.conformance.places import MemoryPlace
from tests.conformance.random_jobs import End, build
from tests.conformance.random_networks import PROGRAM_SINK, PROGRAMS, Plan, calculated, judge

CLIENT = "client"
#: Limit in seconds of a network; far more than any needs, even if nine share two CPUs.
DEADLINE_S = 60.0


class Client:
    """Confirms what jobs store, and that they have ended."""

    def __init__(self, network: MemoryNetwork, control: dict[int, str]) -> None:
        self._network, self._control = network, control
        self._box = network.box(CLIENT)
        self._thread = threading.Thread(target=self._run, name="test-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (message := self._box.get(None)) is not None:
            received = frames.decode(message)
            assert isinstance(received, JobMessage)
            answer: ClientToJob
            match received.message:
                case SaveSnapshot(generation=generation, block=block):
                    answer = CheckpointStored(generation=generation, block=block)
                case RetainValue(pipe=pipe, number=number):
                    answer = ValueStored(pipe=pipe, number=number)
                case WorkDone():
                    answer = AcknowledgeEnd()
                case _:
                    continue
            self._network.box(self._control[received.job]).put([frames.encode_command(answer)])

    def close(self) -> None:
        self._box.put([])
        self._thread.join()


class Running:
    """One running network."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self._folder = plan, folder
        with collecting() as registry:
            self.jobs = build(plan.nodes, PROGRAMS, End)
        assert not registry.faults, [str(fault) for fault in registry.faults]
        self.network = Network("random", {job.id: job for job in self.jobs})
        faults = self.network.check()
        assert not faults, [str(fault) for fault in faults]
        self.place = MemoryPlace(DEADLINE_S)
        self._data = {job.id: self.place.address() for job in self.jobs}
        self._control = {job.id: self.place.address() for job in self.jobs}
        self._client = Client(self.place.network, self._control)
        self.shells: dict[int, EndpointShell] = {}
        self.hosts: dict[int, Any] = {}
        for job in self.jobs:
            own = folder / str(job.id)
            own.mkdir()
            outputs = {pipe.id: self._data[self._other(pipe.id, "consumer")] for pipe in job.outputs}
            inputs = {pipe.id: self._control[self._other(pipe.id, "producer")] for pipe in job.inputs}
            wiring = Wiring(self._data[job.id], self._control[job.id], outputs, inputs, CLIENT)
            bundle = self._bundle(job, wiring, str(own))
            links = self.place.links(self._data[job.id], self._control[job.id], outputs, inputs, CLIENT)
            self.shells[job.id] = make_shell(job, bundle, links)
            self.hosts[job.id] = (ExecutableHost if isinstance(job, ExecutableJob) else PythonHost)(job, self.shells[job.id], bundle)  # type: ignore[arg-type]

    def _other(self, pipe: int, end: str) -> int:
        job = getattr(self.network, end)(pipe)
        return int(job.id)

    def _bundle(self, job: Any, wiring: Wiring, folder: str) -> JobBundle:
        network = self.network
        consumers = {pipe.id: network.consumer(pipe.id) for pipe in job.outputs}
        ends = {pipe.id: (network.producer(pipe.id), network.consumer(pipe.id)) for pipe in (*job.inputs, *job.outputs)}
        return JobBundle(
            job_id=job.id,
            name=job.name,
            incarnation=1,
            folder=folder,
            sys_path=(),
            log_file="",
            log_level="DEBUG",
            links="",
            wiring=wiring,
            feedback=frozenset(pipe.id for pipe in job.inputs if pipe.ASYNC and waits_for_itself(network, pipe.id)),
            max_queues={number: one.MAX_QUEUE for number, one in consumers.items() if one is not None and one.MAX_QUEUE},
            plain=frozenset(number for number, jobs in ends.items() if any(isinstance(one, ExecutableJob) for one in jobs)),
            head_size=1,
            window_blocks=self.plan.blocks,
            window_bytes=self.plan.size,
            pickled_job=b"",
            needed={pipe.id: network.needed[pipe.id] for pipe in job.outputs if pipe.id in network.needed},
        )

    def run(self, deadline_s: float = DEADLINE_S / 2) -> str:
        """Run to the end; return what is wrong."""

        def live(number: int) -> str:
            try:
                return str(self.hosts[number].run())
            finally:
                self.shells[number].close(LINGER_S)

        tasks = {number: self.place.start(lambda number=number: live(number)) for number in self.shells}  # type: ignore[misc]
        stuck = ""
        try:
            deadline = time.monotonic() + deadline_s
            required = self.network.required
            for number in required:
                tasks[number].thread.join(max(0.0, deadline - time.monotonic()))
            if any(tasks[number].running for number in required):
                stuck = "stalled:\n" + self.states(tasks)
            self._end(tasks)
            if stuck:  # before the outcomes: a program killed from outside has failed
                return stuck
            outcomes = {number: tasks[number].result(1.0) for number in required if not tasks[number].running}
        finally:
            self._client.close()
        if set(outcomes.values()) != {report.FINISHED}:
            return f"outcomes {outcomes}"
        wanted = calculated(self.plan.nodes)
        for index, job in enumerate(self.jobs):
            if self.plan.nodes[index].kind == PROGRAM_SINK:
                lines = (self._folder / str(job.id) / "rows.txt").read_bytes().splitlines()
                got = [job.inputs[0].unpack(line) for line in lines]
                if wrong := judge(self.plan.nodes[index], got, wanted[index]):
                    return f"{job.name}: {wrong}"
            if isinstance(job, End) and (wrong := judge(self.plan.nodes[index], job.got, wanted[index])):
                return f"{job.name}: {wrong}"
        return ""

    def _end(self, tasks: dict[int, Any]) -> None:
        """Let the remaining threads end."""
        for number, task in tasks.items():
            if not task.running:
                continue
            shell = self.shells[number]
            shell.abandon()
            if isinstance(self.hosts[number], ExecutableHost):
                self.hosts[number].stop()
            shell.console.add(None)
            shell.notify()
            shell.wake()
        for task in tasks.values():
            task.thread.join(5.0)

    def states(self, tasks: dict[int, Any]) -> str:
        """Return what each of these jobs waits for, and its windows."""
        lines = []
        for number in (number for number, task in tasks.items() if task.running):
            shell = self.shells[number]
            aligner = shell.inputs.aligner
            text = f"  {self.network.jobs[number].name}: done {shell.rule.done}, released to {shell.rule.finished_upto()}"
            if aligner is not None:
                text += f", next {aligner.next}, has " + ", ".join(
                    f"pipe {pipe} to {aligner.receiver(pipe).high} (released {shell.rule.sent_upto(pipe)})" for pipe in aligner.counts()
                )
            if shell.endpoint.checkpoints is not None:
                points = shell.endpoint.checkpoints.points
                text += f"; snapshots: taken {points.taken}, stable {points.stable}"
            lines.append(text)
            frame = sys._current_frames().get(tasks[number].thread.ident or 0)
            called = [one for one in traceback.extract_stack(frame) if "/fission/" in one.filename] if frame is not None else []
            lines.append("    in " + " < ".join(f"{one.name} {Path(one.filename).name}:{one.lineno}" for one in reversed(called[-8:])))
            for output in shell.endpoint.outputs:
                window = output.window
                lines.append(
                    f"    pipe {output.pipe}: next {window.next}, released {output.released}, room {window.room}, bytes {window.used}, "
                    f"worked off {output.through}{', waits' if output.blocked_since else ''}"
                )
        return "\n".join(lines)


@contextmanager
def running(plan: Plan) -> Iterator[Running]:
    """Run a block with a network, and end the network."""
    with tempfile.TemporaryDirectory(prefix="random-") as folder:
        network = Running(plan, Path(folder))
        try:
            yield network
        finally:
            network.place.close_links()
            network.place.stop_watchdog()


def run(plan: Plan, deadline_s: float = DEADLINE_S / 2) -> str:
    """Run a plan; return what is wrong, empty if nothing is."""
    with running(plan) as network:
        return network.run(deadline_s)
