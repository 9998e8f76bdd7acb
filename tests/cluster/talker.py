"""The program that the tests of the hosts run on them; it needs only Python.

python talker.py echo IP PORT           answers UDP datagrams and TCP lines; prints "ready" first
python talker.py udp IP PORT COUNT      sends COUNT datagrams, one a millisecond, and prints the number of answers
python talker.py silence IP PORT COUNT  the same, ignoring errors, and prints the longest time without an answer, in seconds
python talker.py tcp IP PORT BYTES      sends this many bytes, waits for the answer and prints how many seconds it took
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import sys
import time


def echo(ip: str, port: int) -> None:
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.bind((ip, port))
    listener = socket.create_server((ip, port))
    print("ready", flush=True)
    while True:
        for ready in select.select([datagrams, listener], [], [])[0]:
            if ready is datagrams:
                datagrams.sendto(*datagrams.recvfrom(2048))
                continue
            with listener.accept()[0] as connection, contextlib.suppress(OSError):
                while len(connection.recv(1 << 16)):
                    pass
                connection.sendall(b"got it")


def udp(ip: str, port: int, count: int) -> None:
    print(len(_answers(ip, port, count)))


def silence(ip: str, port: int, count: int) -> None:
    times = _answers(ip, port, count, OSError)
    print(max(after - before for before, after in itertools.pairwise(times)))


def _answers(ip: str, port: int, count: int, *expected: type[Exception]) -> list[float]:
    """Return when the answers came; ``expected``: exceptions that the sender may get."""
    talk = socket.socket(type=socket.SOCK_DGRAM)
    talk.setblocking(False)
    answers = []
    end = time.monotonic() + count / 1000 + 0.3
    sent = 0
    while time.monotonic() < end:
        if sent < count:
            with contextlib.suppress(*expected):
                talk.sendto(b"%d" % sent, (ip, port))  # raises if the sender gets an error of a loss
            sent += 1
        while select.select([talk], [], [], 0.001)[0]:
            talk.recv(2048)
            answers.append(time.monotonic())
    return answers


def tcp(ip: str, port: int, size: int) -> None:
    begin = time.monotonic()
    with socket.create_connection((ip, port), timeout=20) as talk:
        talk.sendall(bytes(size))
        talk.shutdown(socket.SHUT_WR)
        if talk.recv(100) != b"got it":
            raise SystemExit("no answer")
    print(time.monotonic() - begin)


if __name__ == "__main__":
    {"echo": echo, "udp": udp, "silence": silence, "tcp": tcp}[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
