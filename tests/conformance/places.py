"""The links of the conformance suites: one `Place` for each way to join jobs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import count
from socket import create_server
from typing import Any, Generic, TypeVar

import zmq

from fission.adapters.memory_links import MemoryLinks, MemoryNetwork
from fission.adapters.zmq_links import ZmqLinks
from fission.ports import Links, Wiring

T = TypeVar("T")

#: Limit in seconds of any action; arbitrary: far above a busy machine's needs, below pytest's limit.
DEADLINE_S = 20.0


class Task(Generic[T]):
    """A function that runs in its own thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._found: list[T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="test-task", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._function())
        except BaseException as why:
            self._error = why

    @property
    def running(self) -> bool:
        return self.thread.is_alive()

    def result(self, deadline_s: float = DEADLINE_S) -> T:
        """Return or raise what the function did; fail if it exceeds the deadline."""
        self.thread.join(deadline_s)
        if self.running:
            raise AssertionError(f"not ended within {deadline_s:g} s: {self._function}")
        if self._error is not None:
            raise self._error
        return self._found[0]


class Place(ABC):
    """One way to join jobs, for one test.

    `close` ends what was created here; the test fails if a thread does not end. A reader that still
    waits at the deadline is woken and gets None instead of its message.

    Attributes:
        overdue: whether a reader was woken at the deadline.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.overdue = False
        self._made: list[Links] = []
        self._tasks: list[Task[Any]] = []
        self._watchdog = threading.Timer(deadline_s, self._wake_all)
        self._watchdog.daemon = True
        self._watchdog.start()

    @abstractmethod
    def address(self) -> str:
        """Return an unused address."""

    @abstractmethod
    def make(self, wiring: Wiring) -> Links:
        """Create the links to test."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return what closed links have left; empty if nothing."""

    def links(
        self,
        data: str = "",
        control: str = "",
        outputs: Mapping[int, str] | None = None,
        inputs: Mapping[int, str] | None = None,
        client: str = "",
    ) -> Links:
        """Return links with this wiring; addresses that are not given are new."""
        made = self.make(Wiring(data or self.address(), control or self.address(), outputs or {}, inputs or {}, client))
        self._made.append(made)
        return made

    def start(self, function: Callable[[], T]) -> Task[T]:
        """Run the function in a thread."""
        task = Task(function)
        self._tasks.append(task)
        return task

    def close_links(self) -> None:
        for links in self._made:
            links.close(0)

    def end_tasks(self) -> None:
        """Wait for the threads. Call it once."""
        try:
            for task in self._tasks:
                task.thread.join(DEADLINE_S)
                if task.running:
                    raise AssertionError(f"a thread of the test has not ended: {task._function}")
        finally:
            self.stop_watchdog()

    def stop_watchdog(self) -> None:
        """Wake no reader at the deadline any longer."""
        self._watchdog.cancel()
        self._watchdog.join()

    def close(self) -> None:
        """End everything, and fail if anything remains. Call it once."""
        self.end_tasks()
        self.close_links()
        assert not self.leftovers()

    def _wake_all(self) -> None:
        self.overdue = True
        for links in self._made:
            links.wake()
            links.wake_control()


class MemoryPlace(Place):
    """Queues of one process."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(deadline_s)
        self.network = MemoryNetwork()
        self._numbers = count(1)

    def address(self) -> str:
        return f"address {next(self._numbers)}"

    def make(self, wiring: Wiring) -> Links:
        return MemoryLinks(wiring, self.network)

    def leftovers(self) -> list[str]:
        return sorted(self.network.listening)


class IpcPlace(Place):
    """ZeroMQ over sockets in a temporary directory, each end with its own context.

    Processes are joined in the same way.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(deadline_s)
        self._folder = tempfile.mkdtemp(prefix="fission-")
        self._numbers = count(1)

    def address(self) -> str:
        return f"ipc://{self._folder}/{next(self._numbers)}"

    def make(self, wiring: Wiring) -> Links:
        return ZmqLinks(wiring)

    def leftovers(self) -> list[str]:
        return sorted(os.listdir(self._folder))

    def close(self) -> None:
        try:
            super().close()
        finally:
            shutil.rmtree(self._folder)


class InprocPlace(Place):
    """ZeroMQ without sockets, in one context."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(deadline_s)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._numbers = count(1)

    def address(self) -> str:
        return f"inproc://{next(self._numbers)}"

    def make(self, wiring: Wiring) -> Links:
        return ZmqLinks(wiring, self._context)

    def leftovers(self) -> list[str]:
        return []

    def close(self) -> None:
        super().close()
        Task(self._context.term).result()  # waits for every socket that is still open


class TcpPlace(Place):
    """ZeroMQ over TCP, as between hosts."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(deadline_s)
        # Linux has 16 million loopback addresses: on this one no other program takes ports before we do
        self._given: set[str] = set()
        low = os.getpid() % 250 + 2
        self._host = f"127.{os.getpid() // 250 % 250 + 1}.{id(self) // 4096 % 250}.{low}" if sys.platform == "linux" else "127.0.0.1"

    def address(self) -> str:
        with create_server((self._host, 0)) as server:
            address = f"tcp://{self._host}:{server.getsockname()[1]}"
        if address in self._given:  # it is free, but its owner has not opened it yet
            return self.address()
        self._given.add(address)
        return address

    def make(self, wiring: Wiring) -> Links:
        return ZmqLinks(wiring)

    def leftovers(self) -> list[str]:
        return []


PLACES: list[type[Place]] = [MemoryPlace, IpcPlace, InprocPlace, TcpPlace]
