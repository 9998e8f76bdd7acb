"""Datagrams that only the machines of the network can make, change, read or redirect: ChaCha20-Poly1305 with the network's pulse key.

``b"\x01" context(8) sender(8) counter(8) salt(16) ciphertext tag(16)``. Senders share one key and know nothing of each other, so each
datagram gets a key of its own: the BLAKE2b hash of a random salt under the shared key. The nonce is the counter, which is not secret, but
cannot be changed.

A context is what both sides know without sending it: which way, from whom, to whom, in which run (`context_of` in
fission.protocol.replay). All of it is authenticated, and a short digest of it stands in front, by which a receiver sees at once what is
not for it: who has recorded a datagram cannot use it on another way, for another receiver or in another run.

Without keys (SECURITY = False): ``b"\x00" context(8) sender(8) counter(8) length(2) payload``, which anybody can make.

A recorded datagram opens as often as it comes. Who receives it must drop counters of a sender that are not new
(`fission.protocol.replay`); both are handed out for that.
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
_CONTEXT = 8  # bytes of its digest: no secret, and the whole context is authenticated
#: Bytes of a sender's name.
SENDER_BYTES = 8
_COUNTER = 8
_SALT = 16  # random 128 bits: two datagrams with one salt and one counter do not happen
_TAG = 16
_FRONT = 1 + _CONTEXT + SENDER_BYTES + _COUNTER
_HEAD = _FRONT + _SALT
_PLAIN_HEAD = _FRONT + 2
#: Bytes of payload that a datagram takes, so that it passes everywhere in one piece: IPv6 carries 1280 bytes, with 40 + 8 for its headers.
MAX_PAYLOAD = 1280 - 48 - _HEAD - _TAG
#: Counters are less than this.
MAX_COUNTER = 1 << 64


class HasPulseKey(Protocol):
    """What is needed of the network's keys."""

    @property
    def pulse(self) -> bytes:
        """32 secret bytes."""


class Opened(NamedTuple):
    """What an authentic datagram says.

    Attributes:
        sender: who made it, `SENDER_BYTES` bytes.
        counter: which one of that sender's.
    """

    sender: bytes
    counter: int
    payload: bytes


def seal(keys: HasPulseKey | None, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
    """A datagram with this payload.

    Args:
        keys: the network's; None: plain.
        payload: at most `MAX_PAYLOAD` bytes.
        counter: grows with each datagram of a sender.
        sender: `SENDER_BYTES` bytes that are unique to it.
        context: what the receiver must know too.

    Raises:
        LocalProtocolError: the payload is too long, the counter no number from 0 to 2**64 - 1, or the sender's name too short or long.
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
    """What a datagram says; None if it was not made by `seal` with these keys and this context, is cut or too long. Never raises.

    With keys a plain datagram is not opened, and a sealed one not without.
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
    """Whether a datagram says that it is for this context; anybody can make one that does."""
    return datagram[1 : 1 + _CONTEXT] == _digest(context) and len(datagram) >= _PLAIN_HEAD


class Seals:
    """Makes and opens the datagrams of one network."""

    def __init__(self, keys: HasPulseKey | None) -> None:
        """Args: keys: the network's; None: plain."""
        self._keys = keys

    def seal(self, payload: bytes, counter: int, sender: bytes, context: bytes) -> bytes:
        """As `seal`."""
        return seal(self._keys, payload, counter, sender, context)

    def open(self, datagram: bytes, context: bytes) -> Opened | None:
        """As `open_sealed`."""
        return open_sealed(self._keys, datagram, context)

    def meant(self, datagram: bytes, context: bytes) -> bool:
        """As `for_context`."""
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
