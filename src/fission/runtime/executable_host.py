"""The loop of an ExecutableJob: compute blocks into its named pipes or descriptors, blocks out of them.

Each pipe has a thread of its own, because the executable may read and write its pipes in any order and a named pipe blocks.
The executable is started without a shell, in the job's folder, in the job's process group.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from fission.core.base_pipe import TruncatedBlock
from fission.core.jobs import ExecutableJob
from fission.errors import ExecutableError, error_text
from fission.ports import JobBundle
from fission.protocol.align import Batch
from fission.protocol.optional import DEFAULT
from fission.runtime import block_reader, codec, report
from fission.runtime.exchange import Exchange
from fission.runtime.outlet import Outlet
from fission.runtime.program_ends import cannot_start, ending_of

log = logging.getLogger("fission.runtime")

#: Blocks that wait for a slow executable beside its pipe's own 64 KiB; arbitrary, the window is what holds the rest.
QUEUE_BLOCKS = 4
#: Seconds between looks at what comes while an executable reads nothing, where it may read its inputs in any order. Arbitrary.
ROOM_S = 0.1
#: Seconds between attempts to wake threads that wait for an executable that has ended. Arbitrary.
OPEN_AGAIN_S = 0.005
#: Seconds between SIGTERM and SIGKILL when a job is stopped; the client's grace is longer. Arbitrary.
TERM_S = 0.5


class ExecutableHost:
    """Runs one ExecutableJob on an exchange: pipes, process, end."""

    def __init__(self, job: ExecutableJob, exchange: Exchange, bundle: JobBundle) -> None:
        self._job = job
        self._exchange = exchange
        self._head_size = bundle.head_size
        self._folder = bundle.folder
        self._in_circle = bool(bundle.feedback)
        self._inputs_ended = False
        self._queues: list[queue.Queue[bytes | None]] = [queue.Queue(QUEUE_BLOCKS) for _ in job.inputs]
        self._paths: list[str] = []
        self._theirs: list[int] = []  # descriptors that the executable inherits
        self._ours: list[Callable[[], int]] = []  # open our end, inputs first
        self._readers: list[block_reader.BlockReader] = []
        self._unopened: set[int] = set()  # pipes whose threads have not got our end yet
        self._threads: list[threading.Thread] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None  # of a thread, the first one
        self._starting = False
        self._started = threading.Event()
        self._ended = threading.Event()
        self._room = threading.Event()  # a queue is not full any more
        exchange.most_held = bundle.window_blocks // 2

    def run(self) -> str:
        """Run the executable to its end; return the outcome.

        Raises:
            ExecutableError: it cannot be started, its exit code is not 0, or what it wrote is no block of its pipe.
        """
        command = self._job.command(*self._make_pipes())
        try:
            self._exchange.start()  # before the executable, whose first block may come at once
            self._start(command)
            self._feed_inputs()
            self._end_inputs()
            self._await_end()
            if self._failure is not None:
                raise self._failure
            code = self._process.returncode if self._process else 0
            if code and not self._exchange.unwanted:
                raise ExecutableError(f"{self._job.name}: {command[0]} {ending_of(code)}; what it wrote to standard error is above")
            self._exchange.finish(tell=True)
            return report.FINISHED
        finally:
            self._end_process()
            for path in self._paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    # pipes

    def _make_pipes(self) -> tuple[list[str], list[str]]:
        by_path = self._job.PASSES == "paths"
        make = self._make_fifo if by_path else self._make_descriptors
        inputs = [make(pipe.id, True) for pipe in self._job.inputs]
        outputs = [make(pipe.id, False) for pipe in self._job.outputs]
        return inputs, outputs

    def _make_fifo(self, pipe: int, is_input: bool) -> str:
        path = os.path.join(self._folder, f".pipe_{pipe}.fifo")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.mkfifo(path, 0o600)
        self._paths.append(path)
        self._ours.append(lambda: os.open(path, os.O_WRONLY if is_input else os.O_RDONLY))
        return path

    def _make_descriptors(self, pipe: int, is_input: bool) -> str:
        read, write = os.pipe()
        theirs, ours = (read, write) if is_input else (write, read)
        self._theirs.append(theirs)
        self._ours.append(lambda: ours)
        return str(theirs)

    def _start(self, command: list[str]) -> None:
        threading.Thread(target=self._begin, args=(command,), name="fission-start", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = []
        count = len(self._job.inputs)
        self._unopened = set(range(count + len(self._job.outputs)))
        for index in range(count):
            self._thread(self._write_input, index)
        for index in range(len(self._job.outputs)):
            self._thread(self._read_output, count + index, index)
        threading.Thread(target=self._watch, name="fission-watch", daemon=True).start()

    def _begin(self, command: list[str]) -> None:
        # in a thread: the order to stop, which is raised in the main thread, must not come between the program's first step and the
        # moment at which it is known here, or nobody would tell it to stop
        self._starting = True
        try:
            self._process = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, pass_fds=self._theirs)
        except OSError as why:
            self._failure = ExecutableError(f"{self._job.name}: cannot start {command[0]}: {cannot_start(why)}")
        except BaseException as why:  # what the command has may be the user's
            self._failure = why
        finally:
            self._started.set()

    def _thread(self, target: Callable[..., None], *arguments: int) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        process = self._process
        if process is None:
            return
        while True:
            try:
                process.wait(block_reader.SAY_WAITING_S / 5)
                break
            except subprocess.TimeoutExpired:
                for reader in self._readers:
                    reader.say_waiting(time.monotonic())
        self._ended.set()
        self._exchange.wake()
        # whoever waits for the executable to open a named pipe would wait for ever: open the other end for it; and for whoever only now
        # begins to wait, so again and again
        while self._unopened and any(map(os.path.exists, self._paths)):
            for path in self._paths:
                for mode in (os.O_RDONLY, os.O_WRONLY):
                    with contextlib.suppress(OSError):
                        os.close(os.open(path, mode | os.O_NONBLOCK))
            time.sleep(OPEN_AGAIN_S)

    def _open(self, position: int) -> int:
        descriptor = self._ours[position]()
        self._unopened.discard(position)
        return descriptor

    def _write_input(self, index: int) -> None:
        descriptor = self._open(index)
        try:
            while (data := self._queues[index].get()) is not None:
                self._room.set()
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
        except BrokenPipeError:
            # it reads no more: take what comes, so that nobody waits for it
            while self._queues[index].get() is not None:
                pass
        finally:
            os.close(descriptor)

    def _read_output(self, position: int, index: int) -> None:
        pipe, outlet = self._job.outputs[index], self._exchange.outlets[index]
        descriptor = self._open(position)
        reader: Any = block_reader.BlockReader(descriptor, f"{pipe} from {self._job.EXECUTABLE}")
        self._readers.append(reader)
        try:
            self._read_blocks(pipe, outlet, reader)
        except TruncatedBlock as why:
            log.warning("%s; what came of it was not used", why)
        except EOFError as why:
            log.debug("%s: %s", pipe, str(why) or "end")
        except BaseException as why:  # read_wrapper may be the user's; nothing else would report what ends this thread
            text = f"{self._job.name}, output {index + 1}: what {self._job.EXECUTABLE} wrote is no block of {pipe}: {error_text(why)}"
            self._fail(ExecutableError(text), why)
        finally:
            os.close(descriptor)

    def _fail(self, error: ExecutableError, cause: BaseException) -> None:
        error.__cause__ = cause
        self._failure = self._failure or error
        self._end_process()

    def _read_blocks(self, pipe: Any, outlet: Outlet, reader: Any) -> None:
        while not outlet.closed:
            head = 0
            if self._job.HEAD:
                start = reader.read(self._head_size)
                if len(start) < self._head_size:
                    return
                head = int.from_bytes(start, "big")
            payload = bytes(pipe.read_wrapper(reader))
            if not payload:
                return
            outlet.put(payload, head)
            outlet.flush()

    # the loop

    def _feed_inputs(self) -> None:
        exchange, inlets = self._exchange, self._exchange.inlets
        aligner = inlets.aligner
        if aligner is None:
            self._feed_as_it_comes()
            return
        while not self._ended.is_set():
            if exchange.stored.settling:
                exchange.receive()
                continue
            batch = inlets.take()
            if batch is not None:
                self._write(batch)
            elif (beginning := aligner.beginning) is not None:
                if aligner.generation != inlets.generation:
                    exchange.switch(aligner.generation)
                aligner.begin(beginning)
                exchange.begin(beginning)
            elif aligner.next > inlets.done + 1:
                exchange.advance(aligner.next - 1)  # those behind the last one were left out, and are done with
            elif inlets.finished or exchange.unwanted:
                return
            else:
                if inlets.exhausted:
                    self._end_inputs()  # not at the end: who waits for the executable may be what keeps the other inputs from ending
                exchange.receive()

    def _feed_as_it_comes(self) -> None:
        """All inputs are ASYNC: nothing says when a compute block begins, so it gets every block, once, as it comes.

        Neither the default nor a stored value: nobody knows how often it wants them, and a named pipe would be full of them.
        """
        exchange = self._exchange
        inputs = [(pipe, exchange.inlets.optional[pipe.id], one) for pipe, one in zip(self._job.inputs, self._queues, strict=True)]
        while inputs and not self._ended.is_set() and not exchange.unwanted:
            for pipe, values, one in inputs:
                while values.waiting >= pipe.BLOCK_COUNT and not one.full():
                    for payload, head in _pairs(*values.take(), pipe.BLOCK_COUNT):
                        self._put(one, self._bytes(pipe, payload, head))
                if values.finished:
                    self._put(one, None)
            inputs = [entry for entry in inputs if not entry[1].finished]
            if any(values.waiting >= pipe.BLOCK_COUNT for pipe, values, _ in inputs):
                exchange._drain_inputs()
                self._room.wait(ROOM_S)  # until it has read some of what waits for it
                self._room.clear()
            elif inputs:
                exchange.receive()
        exchange.release(force=True)

    def _write(self, batch: Batch) -> None:
        columns: dict[int, int] = {}
        for index, pipe in enumerate(self._job.inputs):
            if not pipe.ASYNC:
                columns[index] = len(columns)
        for position, number in enumerate(batch.numbers):
            for index, pipe in enumerate(self._job.inputs):
                if index in columns:
                    column = columns[index]
                    payload, head = batch.columns[column][position], batch.heads[column][position] if batch.heads else 0
                else:
                    payload, head = self._exchange.inlets.optional[pipe.id].take()
                for part, part_head in _pairs(payload, head, pipe.BLOCK_COUNT):
                    self._put(self._queues[index], self._bytes(pipe, part, part_head))
            self._exchange.advance(number)
            if self._ended.is_set():
                return

    def _bytes(self, pipe: Any, payload: Any, head: int) -> bytes:
        if payload is DEFAULT:
            default = pipe.OPTIONAL_DEFAULT
            value = None if default is None else pipe.unpack(default)
            payload = codec.encoder(pipe, plain=True)(value)
        return head.to_bytes(self._head_size, "big") + payload if self._job.HEAD else bytes(payload)

    def _put(self, target: queue.Queue[bytes | None], data: bytes | None) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                target.put(data, timeout=0.2)
                return
            if self._in_circle:
                self._exchange._drain_inputs()  # the executable may wait for room in an output that waits for one of its inputs

    # the end

    def _end_inputs(self) -> None:
        if not self._inputs_ended:
            self._inputs_ended = True
            for one in self._queues:
                self._put(one, None)

    def _await_end(self) -> None:
        while not self._ended.wait(0.2):
            if self._exchange.unwanted:
                self._end_process()
        for one in self._queues:
            with contextlib.suppress(queue.Full):
                one.put_nowait(None)
        for thread in self._threads[len(self._queues) :]:
            thread.join()

    def _end_process(self) -> None:
        if self._starting:
            self._started.wait()
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(TERM_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pairs(payload: Any, head: Any, count: int) -> list[tuple[Any, int]]:
    if count == 1:
        return [(payload, head)]
    heads = head if isinstance(head, list) else [head] * count
    return list(zip(payload, heads, strict=True))
