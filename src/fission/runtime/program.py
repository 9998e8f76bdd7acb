"""One run of an executable: its process, its named pipes or descriptors, and a thread for each.

Each pipe has its own thread, because the executable may read and write its pipes in any order, and
a named pipe blocks. The executable starts without a shell, in the job's folder and process group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from types import MethodType
from typing import Protocol

from fission.core.jobs import ExecutableJob
from fission.errors import ExecutableError, NodeFault
from fission.runtime.block_reader import SAY_WAITING_S, BlockReader
from fission.runtime.program_input import Intake
from fission.runtime.program_start import cannot_start

#: Size of the program's pipes in bytes. Arbitrary: as much as a message holds.
PIPE_BYTES = 256 << 10
#: Seconds between attempts to wake threads that wait for an ended executable. Arbitrary.
OPEN_AGAIN_S = 0.005
#: Seconds between SIGTERM and SIGKILL when a job is stopped; the client's grace is longer. Arbitrary.
TERM_S = 0.5
#: Seconds between checks of how many bytes the program has read from its pipes. Arbitrary.
LOOK_S = 0.05
#: The same for the last blocks, before the end of the pipe. Arbitrary.
UNREAD_S = 0.005


class Owner(Protocol):
    """The object that a program reports to. The pipes' threads call all methods but `ended`."""

    def read_output(self, index: int, reader: BlockReader) -> None:
        """Read an output until its end; never raises."""
        ...

    def has_read(self) -> None:
        """Check the inputs: the program may have read more of them."""
        ...

    def ended(self) -> None:
        """Handle the end of the process."""
        ...


class Program:
    """Starts an executable once, feeds it and hands over its output.

    Attributes:
        intakes: inputs of the program, in the order of the job's inputs.
        over: event set when the process has ended.
    """

    def __init__(self, job: ExecutableJob, folder: str, owner: Owner) -> None:
        """Make the pipes.

        Args:
            job: job of the executable.
            folder: path of the working directory.
            owner: object that the program reports to.
        """
        self._job, self._folder, self._owner = job, folder, owner
        self.intakes = [Intake() for _ in job.inputs]
        self.over = threading.Event()
        self._paths: list[str] = []
        self._theirs: list[int] = []  # descriptors that the executable inherits
        self._ours: list[Callable[[], int]] = []  # functions that open our ends, inputs first
        self._readers: list[BlockReader] = []
        self._unopened: set[int] = set()  # pipes whose threads have not opened our end yet
        self._outputs: list[threading.Thread] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None
        self._starting = False
        self._started = threading.Event()
        make = self._make_fifo if job._fission_passes == "paths" else self._make_descriptors
        inputs = [make(pipe.id, True) for pipe in job.inputs]
        outputs = [make(pipe.id, False) for pipe in job.outputs]
        # a user's attribute `command` may hide the method
        given: object = job.command
        command = job.command if callable(given) else MethodType(ExecutableJob.command, job)
        self.command = command(inputs, outputs)

    @property
    def exit_code(self) -> int:
        """The exit code as in `subprocess`; 0 while the process runs."""
        return (self._process.returncode or 0) if self._process else 0

    def _make_fifo(self, pipe: int, is_input: bool) -> str:
        path = os.path.join(self._folder, f".pipe_{pipe}.fifo")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.mkfifo(path, 0o600)
        except OSError as why:
            raise NodeFault(f"{path}, a named pipe for the executable, cannot be made: {why.strerror}") from None
        self._paths.append(path)
        self._ours.append(lambda: os.open(path, os.O_WRONLY if is_input else os.O_RDONLY))
        return path

    def _make_descriptors(self, pipe: int, is_input: bool) -> str:
        read, write = os.pipe()
        theirs, ours = (read, write) if is_input else (write, read)
        self._theirs.append(theirs)
        self._ours.append(lambda: ours)
        return str(theirs)

    def start(self) -> None:
        """Start the process and the threads.

        Raises:
            ExecutableError: the executable cannot be started.
        """
        threading.Thread(target=self._begin, name="fission-start", daemon=True).start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = []
        count = len(self.intakes)
        self._unopened = set(range(count + len(self._job.outputs)))
        for index in range(count):
            threading.Thread(target=self._write_input, args=(index,), name=f"fission-input-{index}", daemon=True).start()
        for index in range(len(self._job.outputs)):
            thread = threading.Thread(target=self._read_output, args=(count + index, index), name=f"fission-output-{index}", daemon=True)
            self._outputs.append(thread)
            thread.start()
        threading.Thread(target=self._watch, name="fission-watch", daemon=True).start()

    def _begin(self) -> None:
        # in a thread: a stop is raised in the main thread, and must not come between the start of the process and the assignment
        # here, or the process would never receive SIGTERM
        self._starting = True
        command = self.command
        try:
            self._process = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, pass_fds=self._theirs)
        except OSError as why:
            self._failure = ExecutableError(f"{self._job._fission_name}: cannot start {command[0]}: {cannot_start(why)}")
        except BaseException as why:  # the command may contain user objects, which can raise anything
            self._failure = why
        finally:
            self._started.set()

    def _watch(self) -> None:
        process = self._process
        if process is None:
            return
        while True:
            pending = not all(intake.closed or intake.all_read for intake in self.intakes)
            try:
                process.wait(LOOK_S if pending else SAY_WAITING_S / 5)
                break
            except subprocess.TimeoutExpired:
                self._owner.has_read()
                for reader in self._readers:
                    reader.say_waiting(time.monotonic())
        self.over.set()
        self._owner.ended()
        # a thread that waits for the executable to open a named pipe would wait for ever: open the other end for it. Repeat this,
        # because a thread may begin to wait only now
        while self._unopened and any(map(os.path.exists, self._paths)):
            for path in self._paths:
                for mode in (os.O_RDONLY, os.O_WRONLY):
                    with contextlib.suppress(OSError):
                        os.close(os.open(path, mode | os.O_NONBLOCK))
            time.sleep(OPEN_AGAIN_S)

    def _open(self, position: int) -> int:
        descriptor = self._ours[position]()
        self._unopened.discard(position)
        with contextlib.suppress(OSError):  # the system may refuse it to users who have many large pipes
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return descriptor

    def _write_input(self, index: int) -> None:
        intake = self.intakes[index]
        try:
            descriptor = self._open(index)
        except FileNotFoundError:
            if not self.over.is_set():
                raise
            intake.close()  # the program ended before this thread came to its pipe, and the pipe is removed
            return
        intake.open(descriptor)
        try:
            while (item := intake.take()) is not None:
                intake.write(item)
                self._owner.has_read()
            # do not close earlier: a closed pipe does not show its unread bytes, and a program that ends now has read enough
            while intake.unread and not self.over.wait(UNREAD_S):
                pass
            intake.ended = not self.over.is_set()
            self._owner.has_read()  # for the last blocks: they must count as done before the program can end
        except BrokenPipeError:
            # the program no longer reads this input: discard its blocks, so that the other pipes continue. A killed program, in
            # contrast, did not choose to stop reading
            if not self.over.wait(TERM_S):
                intake.shut = True
                self._owner.has_read()
            while (item := intake.take()) is not None:
                if intake.shut:
                    intake.refuse(item)
                    self._owner.has_read()
        finally:
            intake.close()

    def _read_output(self, position: int, index: int) -> None:
        descriptor = self._open(position)
        reader = BlockReader(descriptor, f"{self._job.outputs[index]} from {self._job.EXECUTABLE}")
        self._readers.append(reader)
        try:
            self._owner.read_output(index, reader)
        finally:
            reader.close()
            os.close(descriptor)

    def join_outputs(self) -> None:
        """Block until all output is read. Call it when the process has ended."""
        for intake in self.intakes:
            with contextlib.suppress(queue.Full):
                intake.queue.put_nowait(None)
        for thread in self._outputs:
            thread.join()

    def stop(self) -> None:
        """Any thread: end the process if it still runs, with SIGTERM, then SIGKILL."""
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

    def remove_pipes(self) -> None:
        """Remove the named pipes. Idempotent."""
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
