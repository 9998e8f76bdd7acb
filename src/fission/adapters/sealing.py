"""Datagrams that only the network's machines can make, change, read or redirect.

The cipher is ChaCha20-Poly1305 with the network's pulse key.

``b"\x01" context(8) sender(8) counter(8) salt(16) ciphertext tag(16)``. Senders share one key and
do not coordinate, so each datagram gets its own key: the BLAKE2b hash of a random salt under the
shared key. The nonce is the counter, which is public but cannot be changed.

A context is what both sides know without sending it: direction, sender, receiver and run
(`context_of` in fission.protocol.replay). All of it is authenticated, so a recorded datagram is of
no use in another direction, for another receiver or in another run. A short digest of the context
comes first; by it a receiver recognises at once what is not for it.

Without keys (SECURITY = False): ``b"\x00" context(8) sender(8) counter(8) length(2) payload``,
which anyone can make.

A recorded datagram opens each time it arrives. The receiver must drop counters of a sender that are
not new (`fission.protocol.replay`); the result of opening contains both for that purpose.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fission.errors import LocalProtocolError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_PLAIN, _SEALED = b"\x00", b"\x01"
_CONTEXT = 8  # bytes of the context's digest: not secret, and the whole context is authenticated
#: Bytes of a sender's name.
SENDER_BYTES = 8
_COUNTER = 8
_SALT = 16  # 128 random bits: two datagrams never share salt and counter
_TAG = 16
_FRONT = 1 + _CONTEXT + SENDER_BYTES + _COUNTER
_HEAD = _FRONT + _SALT
_PLAIN_HEAD = _FRONT + 2
#: Bytes of a datagram's largest payload that every path carries unfragmented: IPv6 guarantees 1280 bytes, 40 + 8 of them for headers.
MAX_PAYLOAD = 1280 - 48 - _HEAD - _TAG
#: Upper bound of counters, exclusive.
MAX_COUNTER = 1 << 64


class HasPulseKey(Protocol):
    """The part of the network's keys that sealing needs."""

    @property
    def pulse(self) -> bytes:
        """32 secret bytes."""


class Opened(NamedTuple):
    """The contents of an authentic datagram.

    Attributes:
        sender: name of the sender, `SENDER_BYTES` bytes.
        counter: number of the datagram among the sender's.
        payload: bytes of the message.
    """

    sender: bytes
    counter: int
    payload: bytes


def seal(keys: HasPulseKey | None, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
    """Return a datagram with this payload.

    Args:
        keys: keys of the network; None makes a plain datagram.
        payload: at most `MAX_PAYLOAD` bytes.
        counter: number that grows with each datagram of a sender.
        sender: `SENDER_BYTES` bytes, unique to the sender.
        context: bytes that the receiver must know too.

    Raises:
        LocalProtocolError: the payload is too long, the counter is not from 0 to 2**64 - 1, or the
            sender's name has the wrong length.
    """
    if len(payload) > MAX_PAYLOAD:
        raise LocalProtocolError(f"a datagram takes {MAX_PAYLOAD} bytes, not {len(payload)}")
    if not 0 <= counter < MAX_COUNTER:
        raise LocalProtocolError(f"a datagram's counter must be from 0 to 2**64 - 1, not {counter}")
    if len(sender) != SENDER_BYTES:
        raise LocalProtocolError(f"a datagram's sender has {SENDER_BYTES} bytes, not {len(sender)}")
    number = counter.to_bytes(_COUNTER, "big")
    front = (_PLAIN if keys is None else _SEALED) + _digest(context) + sender + number
    if keys is None:
        return front + len(payload).to_bytes(2, "big") + payload
    head = front + os.urandom(_SALT)
    return head + _cipher(keys.pulse, head).encrypt(b"\0\0\0\0" + number, payload, head + context)


def open_sealed(keys: HasPulseKey | None, datagram: bytes, context: bytes) -> Opened | None:
    """Return the contents of a datagram; None if it is not authentic. Never raises.

    An authentic datagram was made by `seal` with these keys and this context, and is neither cut
    nor too long. Keys do not open plain datagrams, and sealed ones do not open without keys.
    """
    if not for_context(datagram, context):
        return None
    kind, sender, number = datagram[:1], datagram[1 + _CONTEXT : _FRONT - _COUNTER], datagram[_FRONT - _COUNTER : _FRONT]
    counter = int.from_bytes(number, "big")
    if keys is None:
        length = int.from_bytes(datagram[_FRONT:_PLAIN_HEAD], "big")
        if kind != _PLAIN or len(datagram) != _PLAIN_HEAD + length or length > MAX_PAYLOAD:
            return None
        return Opened(bytes(sender), counter, bytes(datagram[_PLAIN_HEAD:]))
    if kind != _SEALED or not _HEAD + _TAG <= len(datagram) <= _HEAD + MAX_PAYLOAD + _TAG:
        return None
    head = datagram[:_HEAD]
    try:
        payload = _cipher(keys.pulse, head).decrypt(b"\0\0\0\0" + number, datagram[_HEAD:], head + context)
    except _invalid_tag():
        return None
    return Opened(bytes(sender), counter, payload)


def for_context(datagram: bytes, context: bytes) -> bool:
    """Return whether a datagram claims to be for this context; anyone can make such a claim."""
    return datagram[1 : 1 + _CONTEXT] == _digest(context) and len(datagram) >= _PLAIN_HEAD


class Seals:
    """Seals and opens the datagrams of one network."""

    def __init__(self, keys: HasPulseKey | None) -> None:
        """Set the keys.

        Args:
            keys: keys of the network; None makes and opens plain datagrams.
        """
        self._keys = keys

    def seal(self, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
        """Seal a payload; see the function `seal`."""
        return seal(self._keys, payload, counter, sender, context)

    def open(self, datagram: bytes, context: bytes) -> Opened | None:
        """Open a datagram; see `open_sealed`."""
        return open_sealed(self._keys, datagram, context)

    def meant(self, datagram: bytes, context: bytes) -> bool:
        """Return whether a datagram claims to be for this context; see `for_context`."""
        return for_context(datagram, context)


def _digest(context: bytes) -> bytes:
    return blake2b(context, digest_size=_CONTEXT, person=b"fission context").digest()


def _cipher(key: bytes, head: bytes) -> ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(blake2b(head[_FRONT:_HEAD], digest_size=32, key=key, person=b"fission pulse").digest())


@cache
def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
