"""What a process reports to the service manager that started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from fission.posix.service_manager import VARIABLE, WATCHDOG_PID_VARIABLE, WATCHDOG_VARIABLE, ServiceManager


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A service manager's socket, whose address is in the environment."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.settimeout(10)
    path = str(Path(tempfile.mkdtemp(), "s"))
    receiver.bind(path)
    monkeypatch.setenv(VARIABLE, path)
    return receiver


def test_ready_arrives(manager: socket.socket) -> None:
    with manager:
        notified = ServiceManager()
        assert VARIABLE not in os.environ  # a job could report in place of the node
        notified.ready()
        assert manager.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract addresses")
def test_abstract_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test-service-manager-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(10)
        receiver.bind(f"\0{name}")
        monkeypatch.setenv(VARIABLE, f"@{name}")
        ServiceManager().ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "x" * 300])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VARIABLE, address)
    ServiceManager().ready()


def test_status_is_one_line_and_the_end_is_reported(manager: socket.socket) -> None:
    with manager:
        notified = ServiceManager()
        notified.status("waiting for\n the nodes")
        notified.stopping()
        assert [manager.recv(100), manager.recv(100)] == [b"STATUS=waiting for the nodes", b"STOPPING=1"]


def test_a_manager_that_does_not_read_blocks_no_service(manager: socket.socket) -> None:
    with manager:
        notified = ServiceManager()
        for _ in range(2000):  # more than its socket holds
            notified.status("x" * 1000)


@pytest.mark.parametrize(
    ("limit", "process", "expected"),
    [
        ("30000000", None, 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", str(os.getpid() + 1), None),  # meant for another process, which started this one
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
    ids=["no process named", "this process", "another process", "0", "no number", "no watchdog"],  # the same in each worker of pytest-xdist
)
def test_the_limit_of_the_watchdog(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, limit: str | None, process: str | None, expected: float | None
) -> None:
    for name, value in ((WATCHDOG_VARIABLE, limit), (WATCHDOG_PID_VARIABLE, process)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with manager:
        assert ServiceManager().watchdog_s == expected
    assert not {WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE} & set(os.environ)


class Clock:
    """Time that passes only while a coroutine sleeps; `keep_alive` ends when it is over."""

    def __init__(self, end_s: float) -> None:
        self.now, self._end_s = 0.0, end_s

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._end_s:
            raise TimeoutError


def notifications(manager: socket.socket) -> int:
    """Return the number of notifications of the watchdog that have arrived."""
    manager.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += manager.recv(100) == b"WATCHDOG=1"
    return count


def test_the_watchdog_is_notified_at_half_of_the_limit_while_the_service_works(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WATCHDOG_VARIABLE, "20000000")
    with manager:
        notified = ServiceManager()
        clock = Clock(100)
        with pytest.raises(TimeoutError):
            asyncio.run(notified.keep_alive(sleep=clock.sleep))
        assert notifications(manager) == 10
        clock = Clock(100)
        with pytest.raises(TimeoutError):
            asyncio.run(notified.keep_alive(lambda: clock.now < 50, clock.sleep))
        assert notifications(manager) == 5


def test_without_a_watchdog_nothing_is_sent(manager: socket.socket) -> None:
    with manager:
        asyncio.run(ServiceManager().keep_alive())
        assert notifications(manager) == 0


async def in_the_loop(notified: ServiceManager) -> None:
    await notified.keep_alive()


async def in_a_thread(notified: ServiceManager) -> None:
    """The broken variant: a thread says that the loop is alive."""
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(send_until(notified, ended)))
    thread.start()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()
        thread.join()


async def send_until(notified: ServiceManager, ended: threading.Event) -> None:
    sending = asyncio.ensure_future(notified.keep_alive())
    await asyncio.to_thread(ended.wait)
    sending.cancel()


@pytest.mark.parametrize(("keep", "noticed"), [(in_the_loop, True), (in_a_thread, False)])
def test_a_loop_that_is_stuck_is_noticed(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, keep: Callable[[ServiceManager], Coroutine[None, None, None]], noticed: bool
) -> None:
    monkeypatch.setenv(WATCHDOG_VARIABLE, "20000")

    async def stuck() -> bool:
        alive = asyncio.ensure_future(keep(ServiceManager()))
        while not await asyncio.to_thread(lambda: manager.recv(100) == b"WATCHDOG=1"):
            pass
        manager.settimeout(0.5)
        try:
            for _ in range(3):  # more than may have been under way
                manager.recv(100)  # blocks the loop
            return False
        except TimeoutError:
            return True
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)

    with manager:
        assert asyncio.run(stuck()) is noticed
