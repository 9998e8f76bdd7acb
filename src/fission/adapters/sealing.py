"""Datagrams between machines that nobody else can make, change or read: ChaCha20-Poly1305 with the network's pulse key.

``b"\\x01" salt(16) counter(8) ciphertext tag(16)``. Senders share one key and know nothing of each other, so each datagram gets a key
of its own: the BLAKE2b hash of a random salt under the shared key. The nonce is the counter, which is not secret, but cannot be changed.

Without keys (SECURITY = False): ``b"\\x00" counter(8) length(2) payload``, which anybody can make.

A recorded datagram opens as often as it comes. Who receives it must drop counters that are not larger than the largest one of that sender's
life; the counter is handed out for that.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Protocol

from fission.errors import LocalProtocolError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

#: Bytes of payload that a datagram takes, so that it passes everywhere in one piece: IPv6 carries 1280 bytes, with 40 + 8 for its headers.
MAX_PAYLOAD = 1280 - 48 - 41
#: Counters are less than this.
MAX_COUNTER = 1 << 64
_PLAIN, _SEALED = b"\x00", b"\x01"
_SALT = 16  # random 128 bits: two datagrams with one salt and one counter do not happen
_COUNTER = 8
_TAG = 16
_HEAD = 1 + _SALT + _COUNTER
_PLAIN_HEAD = 1 + _COUNTER + 2


class HasPulseKey(Protocol):
    """What is needed of the network's keys."""

    @property
    def pulse(self) -> bytes:
        """32 secret bytes."""


def seal(keys: HasPulseKey | None, payload: bytes, counter: int) -> bytes:
    """A datagram with this payload.

    Args:
        keys: the network's; None: plain.
        payload: at most `MAX_PAYLOAD` bytes.
        counter: grows with each datagram of a sender's life.

    Raises:
        LocalProtocolError: the payload is too long, or the counter no number from 0 to 2**64 - 1.
    """
    if len(payload) > MAX_PAYLOAD:
        raise LocalProtocolError(f"a datagram takes {MAX_PAYLOAD} bytes, not {len(payload)}")
    if not 0 <= counter < MAX_COUNTER:
        raise LocalProtocolError(f"a datagram's counter must be from 0 to 2**64 - 1, not {counter}")
    number = counter.to_bytes(_COUNTER, "big")
    if keys is None:
        return _PLAIN + number + len(payload).to_bytes(2, "big") + payload
    head = _SEALED + os.urandom(_SALT) + number
    return head + _cipher(keys.pulse, head).encrypt(b"\0\0\0\0" + number, payload, head)


def open_sealed(keys: HasPulseKey | None, datagram: bytes) -> tuple[int, bytes] | None:
    """The counter and the payload of a datagram; None if it was not made by `seal` with these keys, is cut or too long. Never raises.

    With keys a plain datagram is not opened, and a sealed one not without.
    """
    kind = datagram[:1]
    if keys is None:
        length = int.from_bytes(datagram[_PLAIN_HEAD - 2 : _PLAIN_HEAD], "big")
        if kind != _PLAIN or len(datagram) != _PLAIN_HEAD + length or length > MAX_PAYLOAD:
            return None
        return int.from_bytes(datagram[1 : 1 + _COUNTER], "big"), bytes(datagram[_PLAIN_HEAD:])
    if kind != _SEALED or not _HEAD + _TAG <= len(datagram) <= _HEAD + MAX_PAYLOAD + _TAG:
        return None
    head, number = datagram[:_HEAD], datagram[_HEAD - _COUNTER : _HEAD]
    try:
        payload = _cipher(keys.pulse, head).decrypt(b"\0\0\0\0" + number, datagram[_HEAD:], head)
    except _invalid_tag():
        return None
    return int.from_bytes(number, "big"), payload


def _cipher(key: bytes, head: bytes) -> ChaCha20Poly1305:
    from hashlib import blake2b

    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(blake2b(head[1 : 1 + _SALT], digest_size=32, key=key, person=b"fission pulse").digest())


@cache
def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
