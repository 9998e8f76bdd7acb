"""The outputs of an ExecutableJob: the numbers of blocks decide which inputs may be released."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from typing import Any

from fission.core.base_pipe import BasePipe, TruncatedBlock
from fission.core.executable_job import declares_ratio, output_ratio
from fission.core.head import RESET, bit_mask
from fission.core.jobs import ExecutableJob
from fission.errors import ExecutableError, RatioError, error_text
from fission.ports import JobBundle, Lease
from fission.protocol.messages.job_to_client import JobWarning
from fission.protocol.pacing import COALESCE_BYTES
from fission.protocol.relay import Relay, gives_otherwise
from fission.protocol.shared_blocks import SMALLEST_BYTES
from fission.runtime.block_reader import BlockReader
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.heads import set_head_sizes
from fission.runtime.output_shell import OutputShell
from fission.runtime.program import Program
from fission.runtime.ratio_watch import RatioWatch

log = logging.getLogger("fission.runtime")

#: The value that a job retains for its new incarnations when its program does not give one block for one.
VARIES = b"varies"
#: Blocks of at least this many bytes are read into shared memory even if only a few are there: the program writes on while they are read.
#: Arbitrary: a page.
GATHERED_BYTES = 4096
#: Largest number of compute blocks in one generation, so that block numbers can grow across generations.
GENERATION = 1 << 56


class ExecutableOutputs:
    """The work of the program's threads on its blocks, and the state shared with the job's loop."""

    def __init__(self, job: ExecutableJob, shell: EndpointShell, bundle: JobBundle) -> None:
        self._job = job
        self._shell = shell
        self._bundle = bundle
        self._head_size = bundle.head_size
        set_head_sizes(job, bundle.head_size)
        ratio = output_ratio(job)
        self._lock = threading.Lock()
        waits = bool(job.inputs) and not job._fission_is_source
        if not declares_ratio(job) and any(pipe.id in bundle.kept for pipe in job.outputs):
            ratio = None  # an earlier incarnation has found that the ratio varies
            shell.endpoint.stamps.ratio = None
            shell.endpoint.times.detach()
        self._relay = Relay(ratio, len(job.outputs)) if waits and job.outputs and ratio is not None else None
        self._asked = False  # the client was asked to retain that there is no relay
        self._varied = threading.Event()  # the relay was given up
        self._read = 0  # last compute block known to be read, for `_comes_early`
        self._base = 0  # offset of the intakes' numbers from those of compute blocks
        self._reads = waits and self._relay is None  # a block is done when the program has read it
        self._sync = [index for index, pipe in enumerate(job.inputs) if not pipe.ASYNC]
        self._plain_input = len(job.inputs) == len(self._sync) == 1 and job.inputs[0].BLOCK_COUNT == 1 and not job.HEAD
        self._inputs_ended = False
        self._passed = 0  # the last compute block that was fed to the program, or skipped
        self._failure: BaseException | None = None  # the first failure of a thread
        self._ended = threading.Event()
        self._room = threading.Event()  # an intake's queue has room again
        self._watch = RatioWatch(job, self._relay, lambda text: shell.say(JobWarning(text=text))) if self._relay else None
        self._lends = threading.Lock()  # for taking shared memory: outputs have threads of their own
        self._numbered = threading.Event()  # the outputs' first numbers are known
        self._program: Program | None = None
        for machine in shell.endpoint.outputs:
            machine.lend = None  # the threads of the outputs take shared memory themselves
        shell.rule.follow = self._releasable if waits else None
        shell.program_waits = self.has_read_all

    # called by the program's threads

    def ended(self) -> None:
        """Handle the end of the process."""
        self._ended.set()
        self._shell.wake()

    def has_read_all(self) -> bool:
        """Any thread: return whether the program has read every block that was meant for it so far."""
        program = self._program
        return program is not None and all(intake.closed or intake.all_read for intake in program.intakes)

    def has_read(self) -> None:
        """Check the inputs: the program may have read more of them."""
        self._room.set()
        if not self._reads or self._program is None:
            return
        with self._lock:
            done = min((self._program.intakes[index].read_upto() for index in self._sync), default=0) - self._base
            if done > self._shell.rule.done:
                self._shell.rule.done = done
        self._shell.release()

    def read_output(self, index: int, reader: BlockReader) -> None:
        """Read the blocks of an output until its end."""
        pipe, output = self._job.outputs[index], self._shell.outputs[index]
        try:
            self._read_blocks(index, pipe, output, reader)
        except TruncatedBlock as why:
            log.warning("%s; what came of it was not used", why)
        except EOFError as why:
            log.debug("%s: %s", pipe, str(why) or "end")
        except RatioError as why:
            self._fail(why)
        except BaseException as why:  # read_wrapper may be user code, and nothing else would report an error that ends this thread
            error = ExecutableError(
                f"{self._job._fission_name}, output {index + 1}: what {self._job.EXECUTABLE} wrote is not a block of {pipe}: "
                f"{error_text(why)}"
            )
            error.__cause__ = why
            self._fail(error)
        finally:
            self._pass_on(output)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._program is not None:
            self._program.stop()

    def _read_blocks(self, index: int, pipe: Any, output: OutputShell, reader: BlockReader) -> None:
        reset = bit_mask(RESET, self._head_size) if self._job._fission_is_source else 0  # of its first block
        reader.before_wait = lambda: self._pass_on(output)
        size = 0 if self._job.HEAD else pipe_size(pipe)
        if size and reset and (data := reader.read_blocks(size, 1)):
            self._put_run(index, output, [bytes(data)], reset)
            reset = 0
        if size and output.machine.packs:
            self._read_packed(index, output, reader, size)
        while size and (data := reader.read_blocks(size)):
            self._put_run(index, output, [bytes(data[start : start + size]) for start in range(0, len(data), size)], reset)
        while True:  # for blocks of a fixed size, the end, with an error for a truncated block
            head = 0
            if self._job.HEAD:
                start = reader.read(self._head_size)
                if len(start) < self._head_size:
                    return
                head = int.from_bytes(start, "big")
            payload = _block(pipe, reader)
            if not payload:
                return
            self._put_run(index, output, [payload], head | reset)
            reset = 0
            if reader.shared:
                self._pass_on(output)  # the pipe reads from the descriptor itself, and does not say when it waits

    def _put_run(self, index: int, output: OutputShell, payloads: list[bytes], head: int) -> None:
        """Send blocks of the program; the first one has ``head``, the others have none."""
        for first, end in self._numbered_slices(index, output, len(payloads)):
            for payload in payloads[first:end]:
                output.put(payload, head)
                head = 0

    def _numbered_slices(self, index: int, output: OutputShell, count: int) -> Iterator[tuple[int, int]]:
        """Number ``count`` blocks that arrived, and prepare the output for those that it sends.

        Yield (first, end) for each slice of them whose numbers follow each other. Blocks that a
        closed output does not need are left out.
        """
        end = 0
        while end < count:
            first = end
            numbers = self._numbers(index, count - first)
            end = first + len(numbers) if numbers else count
            if not numbers:
                self._numbered.wait()
            elif output.closed:
                continue
            else:
                output.seek(numbers[0])
            yield first, end

    def _read_packed(self, index: int, output: OutputShell, reader: BlockReader, size: int) -> None:
        """Read and send blocks of ``size`` bytes until the end, as many as there are at a time."""
        while True:
            memory = self._memory_for(output, reader, size)
            if memory is None:
                data = reader.read_blocks(size)
            else:
                view = memoryview(memory).cast("B")
                data = view[: reader.read_into(view, size)]
            if not data:
                return
            self._put_packed(index, output, data, size, memory)

    def _memory_for(self, output: OutputShell, reader: BlockReader, size: int) -> Any:
        """Return shared memory for the blocks that come next; None if they are few, or it is not for their consumer."""
        lending, machine = self._shell.lending, output.machine
        if lending is None or not machine.near or machine.closed or self._shell.watched(output.pipe):
            return None
        if reader.shared or (size < GATHERED_BYTES and reader.available < SMALLEST_BYTES):
            return None
        count = max(1, min(COALESCE_BYTES // size, machine.allow))
        if count * size < SMALLEST_BYTES:
            return None
        with self._lends:
            return lending.lender.allocate(count * size)

    def _put_packed(self, index: int, output: OutputShell, data: memoryview, size: int, memory: Any = None) -> None:
        """Do as `_put_run` with blocks of ``size`` bytes that follow each other in ``data``.

        Args:
            index: index of the output.
            output: the output.
            data: the blocks.
            size: length of a block, in bytes.
            memory: shared memory that begins with them; None if they are elsewhere.
        """
        for first, end in self._numbered_slices(index, output, len(data) // size):
            some = data[first * size : end * size]
            if memory is None:
                output.put_packed(some, size)
            elif len(some) < max(len(data), SMALLEST_BYTES) or (lease := self._leased(index, memory, len(data))) is None:
                output.put_packed(memoryview(bytes(some)), size)  # the memory is used again
            else:
                output.put_leased(lease, size)

    def _leased(self, index: int, memory: Any, length: int) -> Lease | None:
        memory.shorten(length)
        return None if self._shell.lending is None else self._shell.lending.lender.lend_memory(memory, (index,))

    def _pass_on(self, output: OutputShell) -> None:
        """Send the blocks held back, because the program may write nothing further for a while."""
        output.flush()
        if not self._job.inputs:
            return
        with self._lock:
            if self._relay is not None:
                self._shell.rule.done = self._relay.answered
        self._shell.release()

    def _numbers(self, index: int, most: int) -> range:
        """Return the numbers of the next blocks that arrived, which follow each other; none if they
        follow their predecessor.

        Args:
            index: output that they arrived on.
            most: how many have arrived, at least one; the result may have fewer numbers.
        """
        watch = self._watch
        if watch is None or self._varied.is_set():
            return range(0)
        watch.moved()
        with self._lock:
            relay = self._relay
            if relay is None:
                return range(0)
            numbers = relay.give_run(index, most, math.inf if watch.declared else self._read)
            if not numbers and not watch.declared:
                # a block that comes before its input was read does not result from it: look at how much has been read by now
                if self._program is not None:
                    self._read = max(self._program.intakes[one].read_at_most() for one in self._sync) - self._base
                if not gives_otherwise(relay, output=index, read=self._read):
                    numbers = relay.give_run(index, most, self._read)
        if not numbers:
            if watch.declared:
                raise watch.surplus(index)
            self._give_up_ratio()
            self._varied.wait()
        return numbers

    # a program that does not give one block for one, although its job has no RATIO

    def _give_up_ratio(self) -> None:
        """Any thread: continue as with RATIO = None, once new incarnations are sure to do so too.

        Idempotent.
        """
        with self._lock:
            asked, self._asked = self._asked, True
        if not asked and self._watch is not None:
            self._watch.say_otherwise()
            self._shell.remember(self._job.outputs[0].id, VARIES, self._vary)

    def _vary(self) -> None:
        """Any thread: number blocks on from the last one, and release inputs as they are read."""
        with self._lock:
            self._relay, self._reads = None, True
        self._shell.endpoint.stamps.ratio = None
        self._shell.endpoint.times.detach()
        self._numbered.set()
        self._varied.set()
        self.has_read()
        self._shell.wake()

    # releases

    def _releasable(self, released: int) -> int:
        """Any thread: return the last compute block whose inputs may be released.

        Args:
            released: number up to which all output blocks are released.
        """
        with self._lock:
            done = self._shell.rule.done
            return done if self._relay is None else min(done, self._relay.release(released))


def _block(pipe: Any, reader: Any) -> bytes:
    """Return the next block; empty at the end.

    The end between two blocks is an end whatever the pipe raises there: a user's `read` may not
    expect it, as in ``struct.unpack("<I", file.read(4))``.
    """
    before = reader.consumed
    try:
        return bytes(pipe.read_wrapper(reader))
    except SystemExit:
        if reader.ended:  # pipes written for the first FISSION exit at the end
            return b""
        raise
    except EOFError:
        raise
    except Exception as why:
        if not reader.ended or reader.shared or reader.consumed > before:
            raise
        log.warning("%s: at the end of the stream it raised %s instead of EOFError; this is the end of the stream", pipe, error_text(why))
        return b""


def pipe_size(pipe: Any) -> int:
    """Return the bytes of every block of a pipe, or 0 if only its class can find their ends."""
    fixed = type(pipe).read is BasePipe.read and type(pipe).read_wrapper is BasePipe.read_wrapper and isinstance(pipe.BLOCK_SIZE, int)
    return pipe.BLOCK_SIZE if fixed else 0
