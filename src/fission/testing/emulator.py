"""Pipes and jobs as functions. See `fission.emulate`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from fission.core.base import BaseJob, BasePipe
from fission.core.head import Head
from fission.core.jobs import InteractiveJob, PythonJob
from fission.errors import DefinitionError, JobFailed, ValueFitError, error_text
from fission.project.names import shown
from fission.protocol.link_messages import CLOSED, Data, JobMessage
from fission.protocol.messages.client_to_job import EndOfInput, InputLine, RunBlock
from fission.protocol.messages.job_to_client import BlockRan, JobWarning
from fission.runtime import codec
from fission.testing.pipe_emulator import PipeEmulator, cut, head_bytes
from fission.testing.pipe_ends import InputEnd, OutputEnd
from fission.testing.stage import Exited, JobStage, Printed, project_here

#: Default limit of a call in seconds. Arbitrary: far above what a job in a test takes, below the limit of a test.
TIMEOUT_S = 30.0


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


#: The value of an optional pipe on which no block arrives before this compute block.
NOTHING: Any = _Nothing()


def emulate(
    thing: Any,
    path: str | Path = ".emulate",
    *,
    timeout: float | None = TIMEOUT_S,
    quiet: bool = False,
    head_size: int = 1,
    start: bool = True,
) -> Any:
    """Return a job or pipe as an object that can be called like a function.

    Args:
        thing: a job (returns a `JobEmulator`) or a pipe (returns a `PipeEmulator`), which may be
            part of a loaded network.
        path: parent of the jobs' folders, relative to the project, or outside of one to the current
            folder.
        timeout: limit in seconds of one call's wait for a job; None: no limit.
        quiet: whether to print nothing of its own. The job's output is always shown.
        head_size: HEAD_SIZE of the job's network, in bytes.
        start: whether to start a job at once; otherwise its emulator's `start` does, so that its
            folder can be filled first.

    Raises:
        DefinitionError: it is neither a job nor a pipe, or the job cannot be sent to its process.
    """
    if isinstance(thing, BasePipe):
        return PipeEmulator(thing, quiet=quiet, head_size=head_size)
    if isinstance(thing, BaseJob):
        return JobEmulator(thing, path, start, timeout=timeout, quiet=quiet, head_size=head_size)
    hint = "; create an instance with its inputs and outputs" if isinstance(thing, type) and issubclass(thing, BaseJob) else ""
    raise DefinitionError(f"the argument of emulate must be a job or a pipe, but is {shown(thing)}{hint}")


class JobEmulator:
    """A job as a function. A context manager, which calls `kill` at its end.

    The job runs in its own process and folder, in the same host as in a network.

    Attributes:
        job: the given job; a copy of it runs, so it does not change.
        cwd: the job's folder, ``.emulate/<job id>`` in a project's folder; relative to the current
            folder if it is below.
        heads: heads of the last call's blocks.
        in_emulators: one for each input; `put` sends the job a block.
        out_emulators: one for each output; `get` takes the next block.
    """

    def __init__(
        self,
        job: BaseJob,
        path: str | Path = ".emulate",
        start: bool = True,
        *,
        root: str | Path | None = None,
        timeout: float | None = TIMEOUT_S,
        quiet: bool = False,
        head_size: int = 1,
    ) -> None:
        """Create the job's folder and start the job.

        The arguments are those of `emulate`; ``root`` is a synonym of ``path``.
        """
        if not isinstance(job, PythonJob) and not hasattr(job, "EXECUTABLE"):
            raise DefinitionError(f"{job._fission_name} must be a PythonJob or an ExecutableJob; only these can run")
        self.job = job
        self.heads: list[Head] = []
        self._timeout, self._quiet = timeout, quiet
        self._head_size = head_size
        self._stage = JobStage(job, project_here() / (path if root is None else root), head_size=head_size, start=start)
        folder = self._stage.folder
        self.cwd = str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
        self._number = 0
        self._sent = {pipe.id: 0 for pipe in job.inputs}
        self._blocks: dict[int, list[tuple[Any, int]]] = {pipe.id: [] for pipe in job.outputs}
        plain = hasattr(job, "EXECUTABLE")
        self._encoders = {pipe.id: codec.encoder(pipe, plain=plain) for pipe in job.inputs}
        self._decoders = {pipe.id: codec.decoder(pipe, partial(_unreadable, job, pipe)) for pipe in job.outputs}
        self._ran = 0
        self._exit: Exited | None = None
        ends: Any = {"quiet": quiet, "head_size": head_size}
        self.in_emulators = [InputEnd(pipe, partial(self._put_one, index), **ends) for index, pipe in enumerate(job.inputs)]
        self.out_emulators = [OutputEnd(pipe, partial(self._take_one, pipe), **ends) for pipe in job.outputs]

    def __repr__(self) -> str:
        state = ("" if self._stage.started else ", which is not started") if self._stage.running else ", which has ended"
        return f"<emulator of {self.job}{state}>"

    def start(self) -> None:
        """Start the job in its present state, after ``start=False``. Idempotent.

        Raises:
            DefinitionError: the job cannot be sent to its process.
            JobFailed: the emulator was killed.
        """
        if not self._stage.running:
            raise self._over()
        self._stage.start()

    def __enter__(self) -> JobEmulator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def kill(self) -> None:
        """Stop the job and release its resources; its folder stays. Idempotent."""
        if self._stage.running:
            self._show(self._stage.drain())
        self._stage.kill()

    def __call__(self, *values: Any, head: int | Head | Sequence[int | Head] = 0) -> list[Any]:
        """Process one compute block: take one value for each input, return one for each output.

        A tuple is several blocks of an input, one after the other; the call returns the first
        result, and `out_emulators` or later calls return the others. To send one value that is a
        tuple, put it into a tuple, as in ``job(((1, 2),))``. An input with BLOCK_COUNT above 1
        takes a sequence of that many values, or a tuple of a multiple. `NOTHING` is valid for an
        optional input. An InteractiveJob takes the typed line.

        Args:
            values: one for each input, in order.
            head: head of all input blocks, or a sequence with one head for each input.

        Raises:
            ValueFitError: a value does not fit its pipe.
            JobFailed: the job raised, has ended, or sent nothing in time.
            DefinitionError: the number of values or heads is wrong, or the job is not started.
        """
        self._check_running()
        if isinstance(self.job, InteractiveJob):
            return self._typed(values)
        payloads = self._payloads(values)
        heads = self._heads(head)
        # optional pipes first: blocks on the others make the job start
        for pipe in sorted(self.job.inputs, key=lambda pipe: not pipe.ASYNC):
            self._put(pipe, values[self.job.inputs.index(pipe)], payloads.get(pipe.id), heads[self.job.inputs.index(pipe)])
        self._go()
        return self._results()

    def _check_running(self) -> None:
        if self._exit is not None or not self._stage.running:
            raise self._over()
        self._check_started()

    def _check_started(self) -> None:
        if not self._stage.started:
            raise DefinitionError(f"{self.job._fission_name} is not started; call the emulator's start() first")

    def _go(self) -> None:
        """Make a source compute; other jobs do so when their inputs have arrived."""
        if self.job._fission_is_source:
            self._number += 1
            after = {pipe.id: self._sent[pipe.id] for pipe in self.job.inputs}
            self._stage.command(RunBlock(number=self._number, after=after))
        else:
            self._number = min(self._sent[pipe.id] // pipe.BLOCK_COUNT for pipe in self.job.inputs if not pipe.ASYNC)

    def _put_one(self, index: int, value: Any, head: int) -> None:
        """Implement `put` of an input's emulator."""
        if self._exit is not None or not self._stage.running:
            raise self._over()
        self._put(self.job.inputs[index], value, [self._encoded(index, value, value)], head)

    def _take_one(self, pipe: BasePipe, taken: bool) -> tuple[Any, int]:
        """Implement `get` and `get_head` of an output's emulator."""
        blocks = self._blocks[pipe.id]
        if not blocks:
            self._check_running()
            if self.job._fission_is_source and not isinstance(self.job, InteractiveJob):
                self._go()
            self._wait(lambda: blocks, f"no block has arrived from {pipe}")
        payload, head = blocks.pop(0) if taken else blocks[0]
        return self._decoders[pipe.id](payload) if taken else None, head

    def finish(self) -> list[list[Any]]:
        """End the inputs, wait until the job ends, and return its remaining results by output.

        A source is notified that no more blocks are needed, so it ends too; a console reaches its
        end.

        Raises:
            JobFailed: the job failed, or did not end in time.
        """
        if self._stage.running:
            self._check_started()
        for pipe in self.job.inputs:
            self._stage.end(pipe.id, self._sent[pipe.id])
        if isinstance(self.job, InteractiveJob):
            self._stage.command(EndOfInput())
        elif self.job._fission_is_source:
            for pipe in self.job.outputs:
                self._stage.release(pipe.id, CLOSED)
        if self.job._fission_is_source:
            self._stage.command(RunBlock(number=self._number + 1, after={}))
        self._wait(lambda: self._exit is not None, "it did not end")
        if self._exit is not None and self._exit.outcome not in ("finished", "ended"):
            raise self._over()
        return [[self._decoders[pipe.id](payload) for payload, _ in self._blocks[pipe.id]] for pipe in self.job.outputs]

    # a call, step by step

    def _payloads(self, values: Sequence[Any]) -> dict[int, list[Any]]:
        inputs = self.job.inputs
        if len(values) != len(inputs):
            listed = f": {', '.join(map(str, inputs))}" if inputs else ""
            raise DefinitionError(
                f"{self.job._fission_name} takes one value for each of its {len(inputs)} inputs{listed}, but was given {len(values)}"
            )
        found = {}
        for index, (pipe, value) in enumerate(zip(inputs, values, strict=True)):
            if value is NOTHING:
                if not pipe.ASYNC:
                    raise ValueFitError(f"{self.job._fission_name}, input {index + 1}: {pipe} is not optional; give it a value")
                continue
            found[pipe.id] = [self._encoded(index, part, value) for part in self._parts(index, pipe, value)]
        return found

    def _encoded(self, index: int, part: Any, value: Any) -> Any:
        pipe = self.job.inputs[index]
        try:
            return self._encoders[pipe.id](part)
        except KeyboardInterrupt:
            raise
        except BaseException as why:
            raise ValueFitError(
                f"{self.job._fission_name}, input {index + 1}: {cut(value)} does not fit {pipe}: {error_text(why)}"
            ) from why

    def _parts(self, index: int, pipe: BasePipe, value: Any) -> list[Any]:
        if type(value) is tuple and value and len(value) % pipe.BLOCK_COUNT == 0:
            return list(value)
        if pipe.BLOCK_COUNT == 1:
            if type(value) is tuple:
                where = f"{self.job._fission_name}, input {index + 1}"
                raise ValueFitError(f"{where}: a tuple is several blocks, but this one is empty; put a tuple that is a value into a tuple")
            return [value]
        where = f"{self.job._fission_name}, input {index + 1}"
        must = f"{where}: the value for {pipe} must be a sequence of BLOCK_COUNT values ({pipe.BLOCK_COUNT}), but is"
        if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
            raise ValueFitError(f"{must} {shown(value)}")
        parts = list(value)
        if len(parts) != pipe.BLOCK_COUNT:
            raise ValueFitError(f"{must} a sequence of {len(parts)}")
        return parts

    def _heads(self, head: Any) -> list[int]:
        listed = [head] * len(self.job.inputs) if isinstance(head, (int, Head)) else list(head)
        if len(listed) != len(self.job.inputs):
            raise DefinitionError(f"{self.job._fission_name}: head must be one head, or one for each of its {len(self.job.inputs)} inputs")
        return [int.from_bytes(head_bytes(entry, self._head_size), "big") for entry in listed]

    def _put(self, pipe: BasePipe, value: Any, payloads: list[Any] | None, head: int) -> None:
        if payloads is None:
            return
        self._print(f"Putting {cut(value)} in {pipe}.")
        self._stage.send(pipe.id, self._sent[pipe.id] + 1, payloads, [head] * len(payloads) if head else None)
        self._sent[pipe.id] += len(payloads)

    def _typed(self, values: Sequence[Any]) -> list[Any]:
        if len(values) != 1 or not isinstance(values[0], str):
            raise DefinitionError(f"{self.job._fission_name} takes one line of text, as typed")
        self._number += 1
        self._print(f"Typing {cut(values[0])} into {self.job}.")
        self._stage.command(InputLine(line=values[0]))
        self._stage.command(RunBlock(number=self._number, after={}))
        return self._results()

    def _results(self) -> list[Any]:
        outputs = self.job.outputs
        if outputs:
            self._wait(lambda: all(self._blocks[pipe.id] for pipe in outputs), "")
        elif isinstance(self.job, PythonJob):
            self._wait(lambda: self._ran >= self._number, "run has not returned")
        results = []
        self.heads = []
        for pipe in outputs:
            payload, head = self._blocks[pipe.id].pop(0)
            value = self._decoders[pipe.id](payload)
            self.heads.append(Head(head, self._head_size))
            self._print(f"Got {cut(value)} from {pipe}.")
            results.append(value)
        return results

    def _wait(self, done: Any, missing: str) -> None:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while not done():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            event = self._stage.next(left)
            if event is None and self._stage.running:
                raise JobFailed(self.job._fission_name, f"after {self._timeout:g} s {missing or self._missing()}")
            self._take(event)
            if self._exit is not None and not done():
                raise self._over()
        self._show(self._stage.drain())

    def _take(self, event: Any) -> None:
        if isinstance(event, Printed):
            self._show([event])
        elif isinstance(event, Data):
            heads = event.heads or [0] * len(event.payloads)
            self._blocks[event.pipe] += zip(event.payloads, heads, strict=True)
            self._stage.release(event.pipe, event.sqn + len(event.payloads) - 1)
        elif isinstance(event, JobMessage) and isinstance(event.message, BlockRan):
            self._ran = event.message.number
        elif isinstance(event, JobMessage) and isinstance(event.message, JobWarning):
            sys.stderr.write(f"Warning: {event.message.text}\n")
        elif isinstance(event, Exited):
            self._exit = event

    def _missing(self) -> str:
        pipes = [str(pipe) for pipe in self.job.outputs if not self._blocks[pipe.id]]
        return f"no block has arrived from {', '.join(pipes)}"

    def _over(self) -> JobFailed:
        if self._exit is None:
            return JobFailed(self.job._fission_name, "its emulator was killed; make a new one")
        outcome = self._exit.outcome
        if outcome == "ended":
            return JobFailed(self.job._fission_name, "run returned None, which ends a job that has outputs")
        if outcome == "finished":
            return JobFailed(self.job._fission_name, "it has finished, and sends no more blocks")
        return JobFailed(self.job._fission_name, self._exit.error)

    def _print(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(text + "\n")

    @staticmethod
    def _show(events: Sequence[Printed]) -> None:
        for event in events:
            stream = sys.stderr if event.stream == "stderr" else sys.stdout
            stream.write(event.text)


def _unreadable(job: BaseJob, pipe: BasePipe, why: BaseException) -> Exception:
    return ValueFitError(f"{job._fission_name}: a block of {pipe} cannot be read: {error_text(why)}")
