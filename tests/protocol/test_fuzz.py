"""Decoders return a message or refuse it: they raise no other exception, and use no more memory than the input's length explains."""

from __future__ import annotations

import itertools
import resource
from random import Random
from typing import Any

import pytest

from fission.adapters.datagrams import Datagrams
from fission.adapters.sealing import Seals
from fission.errors import RemoteProtocolError
from fission.protocol.frames import decode
from fission.protocol.link_messages import Command, JobMessage
from fission.protocol.messages.client_to_node import ECHOES, PulseEcho
from fission.protocol.messages.node_to_client import PULSES
from fission.protocol.pieces import joined
from fission.protocol.splitter import Splitter
from tests.protocol.fuzz import deep, hostile

#: In the quick round, and in the long one.
COUNTS = [2000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.soak])]


class Key:
    pulse = bytes(32)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.timeout(200)
def test_messages(count: int) -> None:
    """What clients and jobs do with what comes to their ports."""
    taken = reports = commands = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for parts in itertools.islice(hostile(Random(count)), count):
        try:
            message = decode(joined(parts))
            taken += 1
            reports += isinstance(message, JobMessage)
            commands += isinstance(message, Command)
        except RemoteProtocolError:
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken > count // 20, "the messages are not hostile only, so that what lies deeper is reached"
    assert min(reports, commands) > count // 200
    assert grown < 64 << 10, f"giant lengths take no memory; {grown} KB were taken"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("keys", [Key(), None], ids=["keys", "no keys"])
@pytest.mark.timeout(200)
def test_datagrams(keys: Any, count: int) -> None:
    random, heard = Random(count), []
    sealing = Seals(keys)
    datagrams = Datagrams(sealing, ECHOES, PULSES, lambda *message: heard.append(message), b"receiver", lambda: b"context")
    for number, parts in enumerate(itertools.islice(hostile(random), count)):
        body = parts[0][:1000]
        sealed = bytearray(sealing.seal(body, number, b"a sender", b"context"))
        if random.random() < 0.5:
            sealed[random.randrange(len(sealed))] ^= 1 << random.randrange(8)
        if random.random() < 0.2:
            del sealed[random.randrange(len(sealed)) :]
        for data in (bytes(sealed), body, body + bytes(5000), b""):
            datagrams.datagram_received(data, ("10.0.0.1", 5))
    datagrams.datagram_received(sealing.seal(deep(500), count + 10, b"a sender", b"context"), ("10.0.0.1", 5))
    before = len(heard)
    # without keys any peer can use up a sender's numbers: another sender is received
    datagrams.datagram_received(
        sealing.seal(ECHOES.encode(PulseEcho(number=1, acknowledged=0, connected=True)), 1, b"new one!", b"context"), ("10.0.0.1", 5)
    )
    assert len(heard) == before + 1, "it still serves"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.timeout(200)
def test_streams(count: int) -> None:
    """Streams that are cut anywhere and announce any lengths."""
    random = Random(count)
    splitter = Splitter(limit=1 << 16)
    for parts in itertools.islice(hostile(random), count):
        try:
            splitter.feed(parts[0])
        except RemoteProtocolError:
            splitter = Splitter(limit=1 << 16)
        assert splitter.pending <= (1 << 16) + 4 + PIECE


#: The longest message of `hostile`.
PIECE = 1 << 17
