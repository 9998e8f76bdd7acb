"""A Broker's fork server that ends at an awkward moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

BROKER = """
import os, select, signal
from fission.posix.fork_server_process import ForkServerProcess

def news():
    select.select([server], [], [])

server = ForkServerProcess(lambda: None, lambda slot, payload: signal.pause())
for slot in range(3):
    server.fork(slot, b"")
"""
ENDS = "print(os.waitstatus_to_exitcode(os.waitpid(server.pid, 0)[1]))\n"


def _said(code: str) -> tuple[str, str]:
    # in its own session: signals go to its whole group, and a group that loses its session gets SIGHUP
    command = [sys.executable, "-c", BROKER + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, start_new_session=True)
    return done.stdout, done.stderr


def test_a_broker_that_ends_before_it_has_read_the_news() -> None:
    """The system reports a connection that was reset, not its end."""
    assert _said("news(); server._socket.close()\n" + ENDS) == ("0\n", "")


def test_a_broker_that_ends_before_there_is_news() -> None:
    for _ in range(5):  # the server may be about to report: the socket breaks under it
        assert _said("server._socket.close()\n" + ENDS) == ("0\n", "")


def test_a_signal_ends_it() -> None:
    assert _said("news(); os.kill(server.pid, signal.SIGTERM)\n" + ENDS) == ("0\n", "")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_signals_at_its_end_do_not_lead_back_into_the_broker(number: str) -> None:
    """Whatever a forked process is doing, it must not continue the code that it was forked from."""
    code = f"""
def raises(number, frame):
    raise RuntimeError("of the Broker")

news()
signal.signal(signal.{number}, raises)
server._socket.close()
while os.waitpid(server.pid, os.WNOHANG) == (0, 0):
    os.kill(server.pid, signal.{number})
print("ended")
"""
    for _ in range(5):
        assert _said(code) == ("ended\n", "")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_signals_right_after_the_fork_are_not_answered_by_the_brokers_handlers(number: str) -> None:
    code = f"""
server.close()

def raises(number, frame):
    if os.getpid() != broker:
        raise RuntimeError("of the Broker")

broker = os.getpid()
signal.signal(signal.{number}, raises)
for _ in range(20):
    if os.fork() == 0:  # sends signals to all of its group, the fork server among them
        signal.signal(signal.{number}, signal.SIG_IGN)
        for _ in range(2000):
            os.killpg(broker, signal.{number})
        os._exit(0)
    ForkServerProcess(lambda: None, lambda slot, payload: None).close()
    os.wait()
print("ended")
"""
    assert _said(code) == ("ended\n", "")
