"""Errors about pipelines, arguments of daemons, and the connection to the Router."""

from __future__ import annotations

from fission.errors import FissionError, UserError
from fission.ports.pipeline_store import StoreAway as StoreAway
from fission.ports.pipeline_store import StoreLost as StoreLost


class PipelineError(UserError, ValueError):
    """A pipeline, a job, or something in them is malformed.

    Also a ValueError, as pypelinin's documentation says.
    """


class PipelineRefused(PipelineError):
    """The Router does not accept the pipeline; the text is its answer."""


class DaemonError(UserError):
    """A daemon cannot start with its arguments: an address is in use, or workers or a store cannot
    be loaded.
    """


class StoreRaised(FissionError):
    """A store has raised in its own process; ``args`` are one line and the traceback."""


class RouterUnreachable(FissionError):
    """No Router answered within the given time.

    Attributes:
        address: of the Router.
        seconds: the timeout.
    """

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.seconds = seconds
        super().__init__(address, seconds)

    def __str__(self) -> str:
        return (
            f"no Router answers at {self.address} within {self.seconds:g} s: start it (fission pipelines router, or up), "
            "or give the address that it was started with"
        )


class KeysRefused(RouterUnreachable):
    """The program at the Router's address has different keys, or only one of the two sides has any.

    Attributes:
        reason: what is wrong and what to do.
    """

    def __init__(self, address: str, seconds: float, reason: str) -> None:
        super().__init__(address, seconds)
        self.reason = reason
        self.args = (address, seconds, reason)

    def __str__(self) -> str:
        return f"the Router at {self.address} cannot be reached: {self.reason}"


class RouterAnswer(FissionError):
    """The Router answered a request with an error; the text is its own."""
