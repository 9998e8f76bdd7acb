"""The reports of a fork server (`fission.posix.fork_server`) to the client, or the Broker, that has
started it.
"""

from __future__ import annotations

from fission.protocol.messages.codec import Codec, Message, Part


class ModuleRemark(Part, frozen=True):
    """A remark on a module of the setting PRELOAD, as `ForkServerReady` lists it.

    Attributes:
        module: its name.
        text: why it cannot be imported, or a clause about what it has left running or open.
    """

    module: str
    text: str


class ForkServerReady(Message, frozen=True, tag="ready"):
    """The server has loaded its modules. Sent once, first.

    Attributes:
        failed: modules of PRELOAD that cannot be imported.
        remarks: what other modules of PRELOAD have left running or open.
    """

    failed: tuple[ModuleRemark, ...] = ()
    remarks: tuple[ModuleRemark, ...] = ()


class ForkServerPulse(Message, frozen=True, tag="pulse"):
    """The server is alive."""


class ChildForked(Message, frozen=True, tag="forked"):
    """A child exists.

    Attributes:
        key: of the request.
        process: its process id.
    """

    key: tuple[int, ...]
    process: int


class ForkRefused(Message, frozen=True, tag="refused"):
    """The system has not allowed a child; there is none.

    Attributes:
        key: of the request.
        cause: why, in words.
    """

    key: tuple[int, ...]
    cause: str


class ChildEnded(Message, frozen=True, tag="ended"):
    """A child has ended.

    Attributes:
        key: of the request.
        process: its process id.
        code: its exit code, or the negative number of the signal that killed it.
    """

    key: tuple[int, ...]
    process: int
    code: int


AnyReport = ForkServerReady | ForkServerPulse | ChildForked | ForkRefused | ChildEnded
FORK_SERVER_TO_CLIENT: Codec[AnyReport] = Codec(
    "fork server to client", ForkServerReady, ForkServerPulse, ChildForked, ForkRefused, ChildEnded
)
