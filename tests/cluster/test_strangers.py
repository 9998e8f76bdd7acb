"""Strangers at the ports of a network: what they find, what they can use up, what they can send back."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest
import zmq

from fission.adapters.keys import Keys, load_keys
from fission.protocol.pieces import PIECE_BYTES, split
from tests.cluster.support import WAIT_S, Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.protocol.fuzz import hostile
from tests.waiting import eventually

MakeSite = Callable[..., Site]
STEADY = 30
PORT = 8786
PAGES = ("/", "/json/identity.json")
LISTEN = "0A"  # in /proc/net/tcp
#: What a stranger opens to each port, and what is let of it: 64 silent ones to a port, and what belongs to the network.
FLOOD = 1000
SPARE = 150
#: Memory that all that a stranger does may take of one process: 64 connections with a piece of 65 KB each are about 4 MB. On a busy
#: machine sockets wait for their end with what was read; four times 2 GB were announced.
MEMORY = 48 << 20


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and everything below it."""
    return [process, *process.children(recursive=True)]


def everybody(site: Site, client: psutil.Process) -> list[psutil.Process]:
    """Every process of the network: client, services, fork servers, jobs."""
    site.until(lambda: len(site.events("Hello")) >= 5, "all jobs have said hello")
    found = tree(client)
    for node in site.nodes.values():
        found += [psutil.Process(pid) for pid in node.host.pids()]
    return found


def listening(processes: list[psutil.Process]) -> dict[tuple[str, int], psutil.Process]:
    """Return (address, TCP port) -> the process that listens there, as seen on the processes' own hosts (psutil sees only ours)."""
    found = {}
    for process in processes:
        with contextlib.suppress(OSError):
            sockets = set()
            for path in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed since it was listed
                    sockets.add(os.readlink(path))
            for kind in ("tcp", "tcp6"):
                for line in Path(f"/proc/{process.pid}/net/{kind}").read_text().splitlines()[1:]:
                    words = line.split()
                    if words[3] == LISTEN and f"socket:[{words[9]}]" in sockets:
                        address, _, port = words[1].partition(":")
                        ip = socket.inet_ntoa(struct.pack("<I", int(address, 16))) if kind == "tcp" else address
                        found[ip, int(port, 16)] = process
    return found


def said(address: tuple[str, int], request: bytes, encrypted: bool) -> bytes:
    """Return what the server at an address answers to a request."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address, timeout=3) as plain, context.wrap_socket(plain) if encrypted else plain as talk:
            talk.sendall(request)
            talk.settimeout(1)
            return talk.recv(4096)
    except OSError:
        return b""


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
def test_no_web_pages_of_others(cluster: MakeSite, secure: bool) -> None:
    """Nothing that listens speaks HTTP, or listens at more addresses than it must; DASHBOARD is not set."""
    site = cluster(1, start=False, secure=secure)
    site[1].start(*([] if secure else ["--insecure"]))
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    ports = listening(everybody(site, psutil.Process(client.process.pid)))
    assert {(site.network.client_ip, PORT + offset) for offset in (0, 1, 2)} <= set(ports)
    assert {ip for ip, _ in ports} == {site.network.client_ip, site[1].ip}, sorted(ports)
    questions = [(address, path, encrypted) for address in ports for path in PAGES for encrypted in (False, True)]
    with ThreadPoolExecutor(len(questions)) as asking:
        answers = asking.map(lambda one: said(one[0], f"GET {one[1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), one[2]), questions)
    for question, answer in zip(questions, answers, strict=True):
        assert not answer.startswith(b"HTTP/"), (question, answer[:200])
    site.finish(client, chain_rows)


class Mirror(threading.Thread):
    """Hears every datagram between a node and the client, and sends each of them to both, as soon as it has come and later again."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.ip, self.client_ip = site[1].ip, site.network.client_ip
        self.recorded: list[bytes] = []
        self.sent = 0
        self.node: tuple[str, int] | None = None
        self._listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._listener.bind((site.network.switch, 0x0800))
        self._listener.settimeout(0.05)

    def run(self) -> None:
        sender = socket.socket(type=socket.SOCK_DGRAM)
        sender.bind((self.client_ip, 0))
        own = sender.getsockname()[1]
        with self._listener, sender:
            while not self.over.is_set():
                with contextlib.suppress(TimeoutError):
                    self._hear(self._listener.recv(2048), own)
                if self.node is not None:
                    for datagram in [*self.recorded[-3:], *self.recorded[:20]]:
                        sender.sendto(datagram, self.node)
                        sender.sendto(datagram, (self.client_ip, PORT))
                        self.sent += 1

    def _hear(self, packet: bytes, own: int) -> None:
        if packet[9] != socket.IPPROTO_UDP:
            return
        start = (packet[0] & 15) * 4
        source, target = struct.unpack_from("!HH", packet, start)
        if own in (source, target) or PORT not in (source, target):
            return
        if socket.inet_ntoa(packet[12:16]) == self.ip:
            self.node = (self.ip, source)
        self.recorded.append(packet[start + 8 :])


@pytest.fixture
def mirror() -> Iterator[Callable[[Site], Mirror]]:
    made: list[Mirror] = []

    def make(site: Site) -> Mirror:
        made.append(Mirror(site))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.over.set()
        one.join(10)


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
def test_reflected_datagrams(cluster: MakeSite, mirror: Callable[[Site], Mirror], secure: bool) -> None:
    """While the client runs, they disturb no job; when it is dead, they do not keep its jobs alive."""
    site = cluster(1, start=False, secure=secure)
    site[1].start(*([] if secure else ["--insecure"]))
    client = site.run(CHAIN.format(limit=0), extra="ORPHAN_TIMEOUT = 3")
    site.rows(STEADY)
    stranger = mirror(site)
    eventually(lambda: stranger.sent > 500, WAIT_S, "the stranger sends back what he hears")
    site.more_rows(5 * STEADY)
    assert "the connection to the client has ended" not in site[1].log
    assert site.lost_nodes() == []
    assert site[1].jobs()
    client.process.kill()
    client.process.wait(10)
    before = stranger.sent
    site[1].logged("no message from the client for too long")
    site.no_jobs_left()
    assert stranger.sent > before + 10


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"


def zmtp(mechanism: bytes, size: int) -> bytes:
    """Return a greeting, and the beginning of a command of this many bytes."""
    return GREETING + mechanism.ljust(20, b"\0") + b"\0" * 32 + b"\x06" + struct.pack("!Q", size)


#: What announces 2 GB: to ZeroMQ as a command of either mechanism, to Dask, and to any other reader of bytes.
GIANTS = [zmtp(b"CURVE", 2 << 30), zmtp(b"NULL", 2 << 30), struct.pack("<Q", 2 << 30), struct.pack("!Q", 2 << 30)]
#: As much as is taken.
ALLOWED = [zmtp(b"CURVE", 16 << 10), zmtp(b"NULL", 16 << 10)]


def connect(address: tuple[str, int], first: bytes = b"") -> socket.socket:
    """A connection, without waiting for it."""
    talk = socket.socket()
    talk.setblocking(False)
    talk.connect_ex(address)
    if first:
        with contextlib.suppress(OSError):
            talk.send(first)
    return talk


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
def test_a_stranger_takes_neither_descriptors_nor_memory(cluster: MakeSite, secure: bool) -> None:
    """A thousand idle connections to each open port, and 2 GB announced to each: with 1024 descriptors everything continues."""
    site = cluster(1, start=False, secure=secure)
    site[1].start(*([] if secure else ["--insecure"]))
    # 2 GB keep a busy machine from everything else for longer than five pulses of 0.2 s
    client = site.run(CHAIN.format(limit=0), extra="PULSE_INTERVAL = 2\n")
    site.rows(STEADY)
    processes = everybody(site, psutil.Process(client.process.pid))
    names = {process.pid: " ".join(process.cmdline())[-60:] for process in processes}
    for process in processes:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ports = listening(processes)
    owners = {process.pid: process for process in ports.values()}
    descriptors = {pid: process.num_fds() for pid, process in owners.items()}
    memory = {pid: process.memory_info().rss for pid, process in owners.items()}
    held: list[socket.socket] = []
    try:
        for address in ports:
            held += [connect(address) for _ in range(FLOOD)]
        settled = lambda: all(one.num_fds() < descriptors[pid] + SPARE * 3 for pid, one in owners.items())  # noqa: E731
        site.until(settled, "most of the idle connections are closed")
        site.more_rows(STEADY)
        for address in ports:
            for first in GIANTS + ALLOWED:
                held.append(connect(address))
                held[-1].settimeout(2)
                with contextlib.suppress(OSError):
                    held[-1].sendall(first)
                    until = time.monotonic() + 2
                    while time.monotonic() < until:  # as much as is taken, for a while
                        held[-1].sendall(bytes(1 << 16))
        grown = {pid: (one.memory_info().rss - memory[pid]) >> 20 for pid, one in owners.items()}
        assert max(grown.values()) < MEMORY >> 20, {owners[pid].cmdline()[-1][:40]: size for pid, size in grown.items()}
        site.more_rows(STEADY)
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    gone = [names[process.pid] for process in processes if not process.is_running()]
    assert gone == [], f"{gone}\n{client.stderr}\n{site[1].log}"
    site.finish(client, chain_rows)
    assert all(incarnation == 1 for incarnation, _ in site.incarnations().values())


def send(context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None, address: tuple[str, int], messages: list[list[bytes]]) -> None:
    """Say all of that to a port."""
    sender = context.socket(zmq.PUSH)
    sender.setsockopt(zmq.LINGER, 2000)
    sender.setsockopt(zmq.SNDHWM, 0)
    if keys is not None:
        sender.curve_publickey, sender.curve_secretkey, sender.curve_serverkey = keys.public, keys.secret, keys.public
    sender.connect(f"tcp://{address[0]}:{address[1]}")
    for parts in messages:
        sender.send_multipart(split(parts) if max(map(len, parts)) > PIECE_BYTES else parts)
    sender.close()


#: For each port, in the quick round and in the long one. Among many more there are always some that are right by chance: a forged
#: hello with an address, the end of a stream. Those cannot be distinguished from the job's own where the sender has the keys,
#: or there are none; the decoders alone get 10^5 in tests/protocol/test_fuzz.py.
MESSAGES = [400, pytest.param(2_000, marks=[pytest.mark.slow, pytest.mark.soak])]


@pytest.mark.parametrize("count", MESSAGES)
@pytest.mark.parametrize("secure", [True, False], ids=["keys", "no keys"])
@pytest.mark.timeout(240)
def test_hostile_messages(cluster: MakeSite, secure: bool, count: int) -> None:
    """They go to every port, with the keys if there are any, and without: nothing ends, and the result is right."""
    site = cluster(1, start=False, secure=secure)
    site[1].start(*([] if secure else ["--insecure"]))
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    processes = everybody(site, psutil.Process(client.process.pid))
    keys, random = load_keys(site.keys) if secure else None, Random(count)
    messages = [parts for parts in itertools.islice(hostile(random, wrong=True), count) if max(map(len, parts), default=0) > 0]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ports = listening(processes)
    try:
        for address in ports:
            send(context, keys, address, messages)
            for parts in messages[:40]:  # not even a handshake
                with contextlib.suppress(OSError), socket.create_connection(address, timeout=2) as plain:
                    plain.sendall(parts[0])
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            for parts in messages:
                datagrams.sendto(parts[0][:1200], (site.network.client_ip, PORT))
    finally:
        context.term()
    site.more_rows(2 * STEADY)
    ended = [process for process in processes if not process.is_running()]
    assert not ended, f"{ended}\n{site.logs()}"
    done = site.finish(client, chain_rows)
    assert "Traceback" not in done.stderr
    assert all(incarnation == 1 for incarnation, _ in site.incarnations().values())
