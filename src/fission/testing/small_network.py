"""A whole small network in one thread of one process: memory links, a manual clock, real hosts.

Each job runs one turn after the other; a source runs only when no other job has work. Each job has
a clock of its own, which its `time.sleep` advances, and the source whose clock is furthest behind
runs first. A network whose sources sleep for a second between values therefore runs as fast as it
can, in the order of a real run, and always in the same order.
"""

from __future__ import annotations

import copy
import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fission.adapters.memory_links import MemoryLinks, MemoryNetwork
from fission.core.base import BaseJob, BasePipe, collecting
from fission.core.jobs import InteractiveJob, PythonJob
from fission.core.network import Network
from fission.core.sink_file import SinkFile
from fission.errors import DefinitionError, JobFailed
from fission.ports import JobBundle, Wiring
from fission.project.shipping import copy_dependencies
from fission.protocol import frames
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.client_to_job import CheckpointStored
from fission.protocol.messages.job_to_client import SaveSnapshot
from fission.runtime.endpoint_shell import EndpointShell, make_shell
from fission.runtime.python_host import PythonHost
from fission.runtime.report import ENDED, failure_text
from fission.runtime.surroundings import Surroundings
from fission.testing.manual_clock import ManualClock
from fission.testing.stage import project_here

#: Source turns after which a network without a limit counts as endless. Arbitrary.
MOST_TURNS = 20_000
#: Blocks and bytes of a window that is never full: in one thread, a wait for room never ends.
UNLIMITED = 1 << 40


class Ran:
    """The results of a network.

    Attributes:
        sinks: by job id, what each sink received: one entry for each compute block, a tuple if the
            sink has several inputs.
        pipes: by pipe id, the values of the pipes that no job of the network reads.
        folders: by job id, the working folder of each job.
        seconds: duration by the clocks of the jobs.
    """

    def __init__(self) -> None:
        self.sinks: dict[int, list[Any]] = {}
        self.pipes: dict[int, list[Any]] = {}
        self.folders: dict[int, Path] = {}
        self.seconds = 0.0

    def __getitem__(self, which: BaseJob | BasePipe) -> list[Any]:
        """Return what a sink received or a pipe carried, given the job or pipe itself."""
        return self.sinks[which._fission_id] if isinstance(which, BaseJob) else self.pipes[which.id]

    def __repr__(self) -> str:
        return f"Ran(sinks={self.sinks}, pipes={self.pipes}, seconds={self.seconds:g})"


class _Feeder(PythonJob):
    """A source that sends the values given for a pipe."""

    def __init__(self, values: Sequence[Any], pipe: BasePipe) -> None:
        super().__init__(outputs=[pipe])
        self.values = list(values)

    def run(self) -> Iterator[Any]:
        for value in self.values:
            yield (value,)


class _Collector(PythonJob):
    """A sink for a pipe that no job of the network reads."""

    def run(self, value: Any) -> None:
        pass


class _LinksWithoutClient(MemoryLinks):
    """Reports each snapshot as stored: the blocks before it are released. No job is restarted here, so nothing reads it."""

    def tell(self, frame: frames.Buffer) -> None:
        decoded = frames.decode([frame])
        if isinstance(decoded, JobMessage) and isinstance(decoded.message, SaveSnapshot):
            stored = CheckpointStored(generation=decoded.message.generation, block=decoded.message.block)
            self._network.box(self._wiring.control).put([frames.encode_command(stored)])


class _NoControl:
    """A stand-in for the control thread, whose work the network's only thread does."""

    def arm(self, moment: float) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


#: Its windows are never full, so no job waits for room.
ONE_THREAD = Surroundings(control=lambda links, served: _NoControl())


def run_network(
    jobs: Sequence[BaseJob],
    inputs: Mapping[Any, Sequence[Any]] | None = None,
    *,
    folder: str | os.PathLike[str],
    blocks: int | None = None,
    head_size: int = 1,
) -> Ran:
    """Run jobs to their end and return what each sink received. Copies of the jobs run.

    Args:
        jobs: PythonJobs, as in JOBS.
        inputs: the values of a pipe, by pipe or pipe id, which replace the job that feeds it; or
            the lines typed into an InteractiveJob, by job.
        folder: parent of the jobs' working folders.
        blocks: compute blocks of every sink after which to stop; None: when all jobs have finished.
        head_size: size of heads in bytes.

    Raises:
        DefinitionError: the jobs are not a network that can run this way.
        JobFailed: a job raised; the text has the user's frames.
    """
    network = _SmallNetwork(jobs, dict(inputs or {}), Path(folder).absolute(), head_size)
    return network.run(blocks)


class _RunningJob:
    """One job of the network."""

    def __init__(self, job: PythonJob, shell: EndpointShell, host: PythonHost, folder: Path) -> None:
        self.job, self.shell, self.folder = job, shell, folder
        self.host = host
        self.host.turn = 1
        self.turns = host.turns()
        self.now = 0.0
        self.waits = False
        self.got: list[Any] = []
        if not job.outputs:
            self._collect()

    def _collect(self) -> None:
        run = self.job.run

        def note(_: PythonJob, *values: Any) -> Any:
            self.got.append(values[0] if len(values) == 1 else values)
            return run(*values)

        # In a class, not among the job's attributes: those are its snapshot.
        kind = type(self.job)
        self.job.__class__ = type(kind.__name__, (kind,), {"run": note, "__module__": kind.__module__})

    @property
    def computes(self) -> bool:
        """Whether the job has not ended."""
        return not self.shell.endpoint.finishing

    @property
    def over(self) -> bool:
        """Whether the job has ended, and its ends have arrived."""
        return self.shell.endpoint.ending.over

    def serve(self) -> bool:
        """Do the work of the control thread; return whether there was any."""
        found = self.shell.serve()
        if self.shell.sink is not None:
            self.shell.sink.due(0.0, hurry=True)  # nothing waits here, so nothing is gathered
        self.shell.tick(time.perf_counter())
        return found

    def step(self) -> bool:
        """Advance the job a little; return whether that was possible."""
        if not self.computes or (self.waits and not self.shell.poll()):
            return False
        try:
            self.waits = next(self.turns)
        except StopIteration:
            self.shell.end(sends_ends=self.host.ends_with != ENDED)
        return True


class _SmallNetwork:
    def __init__(self, jobs: Sequence[BaseJob], inputs: dict[Any, Sequence[Any]], folder: Path, head_size: int) -> None:
        self._head_size = head_size
        self._now = 0.0
        self._given = list(jobs)
        lines = {key._fission_id: value for key, value in inputs.items() if isinstance(key, BaseJob)}
        fed = {key.id if isinstance(key, BasePipe) else key: value for key, value in inputs.items() if not isinstance(key, BaseJob)}
        made = self._jobs(jobs, fed, lines)
        self._open = {job.inputs[0].id: job._fission_id for job in made if isinstance(job, _Collector)}
        self._running = self._start(made, lines, folder)

    # before the start

    def _jobs(self, jobs: Sequence[BaseJob], fed: Mapping[int, Sequence[Any]], lines: Mapping[int, Sequence[str]]) -> list[PythonJob]:
        known = {pipe.id: pipe for job in jobs for pipe in (*job.inputs, *job.outputs)}
        for pipe in fed:
            if pipe not in known:
                raise DefinitionError(f"inputs: none of the jobs has a pipe {pipe!r}; there are {', '.join(map(str, sorted(known)))}")
        for number in lines:
            if not any(job._fission_id == number and isinstance(job, InteractiveJob) for job in jobs):
                raise DefinitionError(f"inputs: job {number} must be an InteractiveJob of these jobs, but is not; give values by pipe")
        kept = []
        for job in jobs:
            replaced = [pipe for pipe in job.outputs if pipe.id in fed]
            if replaced and len(replaced) < len(job.outputs):
                left = next(pipe for pipe in job.outputs if pipe.id not in fed)
                raise DefinitionError(
                    f"inputs gives {replaced[0]} of {job._fission_name} and not {left}; give all that it feeds, or nothing"
                )
            if not replaced:
                if not isinstance(job, PythonJob):
                    raise DefinitionError(
                        f"{job._fission_name} must be a PythonJob, but needs a process: call it by emulate, or run the network by simulate"
                    )
                kept.append(job)
        made = [copy.deepcopy(job) for job in kept]
        pipes = {pipe.id: pipe for job in made for pipe in (*job.inputs, *job.outputs)}
        produced = {pipe.id for job in made for pipe in job.outputs}
        consumed = {pipe.id for job in made for pipe in job.inputs}
        with collecting() as registry:  # ids that no job of the network has
            registry.number_jobs_after(max((job._fission_id for job in jobs), default=0))
            for number in sorted(consumed - produced):
                if number not in fed and not pipes[number].ASYNC:
                    raise DefinitionError(f"no job feeds {pipes[number]}: add the job that does, or give its values by inputs")
                made.append(_Feeder(fed.get(number, ()), pipes[number]))
            for number in sorted(produced - consumed):
                pipes[number].BLOCK_COUNT = 1  # block by block, however many its reader takes at once
                made.append(_Collector(inputs=[pipes[number]]))
        for job in made:  # copies know only their own ends
            for end in job.inputs:
                end.destination = job
            for end in job.outputs:
                end.source = job
        faults = Network("these jobs", {job._fission_id: job for job in made}).check()
        if faults:
            raise DefinitionError("\n".join(map(str, faults)))
        return made

    def _start(self, made: Sequence[PythonJob], lines: Mapping[int, Sequence[str]], folder: Path) -> dict[int, _RunningJob]:
        links, root = MemoryNetwork(), project_here()
        consumers = {pipe.id: job for job in made for pipe in job.inputs}
        producers = {pipe.id: job for job in made for pipe in job.outputs}
        self._timed = Network("these jobs", {job._fission_id: job for job in made}).timed
        running = {}
        for job in made:
            own = folder / str(job._fission_id)
            own.mkdir(parents=True, exist_ok=True)
            copy_dependencies(job, root, own)
            outputs = {pipe.id: f"{consumers[pipe.id]._fission_id} data" for pipe in job.outputs}
            wiring = Wiring(
                f"{job._fission_id} data",
                f"{job._fission_id} control",
                outputs,
                {pipe.id: f"{producers[pipe.id]._fission_id} control" for pipe in job.inputs},
            )
            bundle = self._bundle(job, wiring, own, {pipe.id: consumers[pipe.id].MAX_QUEUE for pipe in job.outputs})
            shell = make_shell(job, bundle, _LinksWithoutClient(wiring, links), surroundings=ONE_THREAD)
            if isinstance(job, InteractiveJob):
                for line in lines.get(job._fission_id, ()):
                    shell.console.add(line)
                shell.console.add(None)
            running[job._fission_id] = _RunningJob(job, shell, PythonHost(job, shell, bundle), own)
        return running

    def _bundle(self, job: BaseJob, wiring: Wiring, own: Path, max_queues: dict[int, int]) -> JobBundle:
        return JobBundle(
            job_id=job._fission_id,
            name=job._fission_name,
            incarnation=1,
            folder=str(own),
            sys_path=(),
            log_file="",
            log_level="DEBUG",
            links="",
            wiring=wiring,
            feedback=frozenset(pipe.id for pipe in job.inputs if pipe.ASYNC),
            max_queues={pipe: limit for pipe, limit in max_queues.items() if limit},
            plain=frozenset(),
            timed=self._timed,
            head_size=self._head_size,
            window_blocks=UNLIMITED,
            window_bytes=UNLIMITED,
            pickled_job=b"",
        )

    # while it runs

    def run(self, blocks: int | None) -> Ran:
        sinks = [one for one in self._running.values() if not one.job.outputs]
        turns = 0
        before = os.getcwd()
        try:
            with ManualClock(lambda: self.current):
                while True:
                    while self._others():
                        pass
                    if blocks is not None and sinks and all(len(one.got) >= blocks for one in sinks):
                        break
                    if not self._a_source():
                        break
                    turns += 1
                    if turns > MOST_TURNS:
                        raise DefinitionError(
                            f"the network does not end within {MOST_TURNS} blocks of its sources; say blocks=, how many are enough"
                        )
        finally:
            os.chdir(before)
            for one in self._running.values():
                one.turns.close()  # type: ignore[attr-defined]  # it is a generator: its `finally` blocks run
                one.shell.close(0)
                for value in vars(one.job).values():  # in a network the end of the process does this
                    if isinstance(value, (io.IOBase, SinkFile)):
                        value.close()
        for one in self._running.values():
            self._torn_down(one)
        stuck = [one.job._fission_name for one in self._running.values() if not one.over]
        if blocks is None and stuck:
            raise DefinitionError(f"the network is stalled: {', '.join(stuck)} wait for each other")
        return self._ran(blocks)

    def _torn_down(self, one: _RunningJob) -> None:
        """Close the resources of a job that `blocks` has stopped."""
        try:
            one.host.teardown()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise JobFailed(one.job._fission_name, failure_text(error)) from error

    def _others(self) -> bool:
        """Advance all jobs except running sources; return whether any of them advanced."""
        moved = False
        for one in self._running.values():
            moved |= one.serve()
            while not (self._is_source(one) and one.computes) and self._step(one):
                moved = True
        return moved

    def _a_source(self) -> bool:
        """Advance the source whose clock is furthest behind."""
        waiting = [one for one in self._running.values() if self._is_source(one) and one.computes]
        return any(self._step(one) for one in sorted(waiting, key=lambda one: (one.now, one.job._fission_id)))

    @staticmethod
    def _is_source(one: _RunningJob) -> bool:
        return one.job._fission_is_source

    def _step(self, one: _RunningJob) -> bool:
        self.current = one
        one.now = max(one.now, 0.0 if self._is_source(one) else self._now)
        os.chdir(one.folder)
        try:
            moved = one.step()
            if self._is_source(one):
                self._now = max(self._now, one.now)
                one.shell.flush()
            return moved
        except KeyboardInterrupt:
            raise  # here it may be the user's own Ctrl-C
        except BaseException as error:
            raise JobFailed(one.job._fission_name, failure_text(error)) from error

    def _ran(self, blocks: int | None) -> Ran:
        ran = Ran()
        for number, one in self._running.items():
            ran.folders[number] = one.folder
            ran.seconds = max(ran.seconds, one.now)
            if not one.job.outputs:
                kept = one.got if blocks is None else one.got[:blocks]
                if isinstance(one.job, _Collector):
                    ran.pipes[one.job.inputs[0].id] = kept
                else:
                    ran.sinks[number] = kept
        return ran
