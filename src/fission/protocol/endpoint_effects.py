"""What an `Endpoint` asks its caller to do, one object for each action.

They collect in `Endpoint.effects`, in the order of the decisions. The caller performs them in this
order and removes them. One effect stands for a whole message, never for a single block.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fission.protocol.frames import Buffer
from fission.protocol.messages.job_to_client import JobToClient


# structs of msgspec, because one is made for each message: a frozen dataclass takes four times as long to make
class Effect(msgspec.Struct, frozen=True):
    """The base of all effects."""


class SendData(Effect, frozen=True):
    """Send a message to the consumer of an output.

    Attributes:
        pipe: id of the output.
        message: frames of the message.
    """

    pipe: int
    message: list[Buffer]


class SendControl(Effect, frozen=True):
    """Send a message to the producer of an input.

    Attributes:
        pipe: id of the input.
        message: the one frame of the message.
    """

    pipe: int
    message: bytes


class TellClient(Effect, frozen=True):
    """Send a message to the client.

    Attributes:
        message: the message.
        payload: bytes that belong to it.
    """

    message: JobToClient
    payload: bytes = b""


class RetainGroup(Effect, frozen=True):
    """Have the client retain a value of an ASYNC input: pack it, and send a `RetainValue`.

    Attributes:
        pipe: id of the input.
        number: number of the request.
        group: the value, as (payloads, heads).
    """

    pipe: int
    number: int
    group: tuple[list[Any], list[int]]


class Retained(Effect, frozen=True):
    """The client retains what `Endpoint.remember` handed it, perhaps for a second time.

    Attributes:
        pipe: id of the output under which it is retained.
    """

    pipe: int


class SayHello(Effect, frozen=True):
    """Report to the client that the job runs, with its process and the addresses of its links."""


class Redirect(Effect, frozen=True):
    """Connect to another address.

    Attributes:
        pipe: id of the pipe.
        address: address of its other end; empty for a new connection to the same address.
    """

    pipe: int
    address: str


class ConnectClient(Effect, frozen=True):
    """Connect to another address of the client.

    Attributes:
        address: the address.
    """

    address: str


class ForgetReader(Effect, frozen=True):
    """Take back the shared memory that an older incarnation of a consumer has not given back.

    Attributes:
        output: index of the output.
        incarnation: newest incarnation of its consumer.
    """

    output: int
    incarnation: int


class Wake(Effect, frozen=True):
    """Let the job's loop look again: it may wait for a message that never comes."""


class Arm(Effect, frozen=True):
    """Call `Endpoint.tick` at this time, or earlier.

    Attributes:
        at: time in seconds.
    """

    at: float
