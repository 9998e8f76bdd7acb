"""Every exception of FISSION, by cause.

`UserError` and its subclasses: the user's network, config or command is wrong; the message says
what is wrong, what it must be, what it is, and what to do, and is shown without a traceback.
`JobFailed`: the user's code raised. `ProtocolError`: a peer's bytes (`RemoteProtocolError`) or our
own use of a state machine (`LocalProtocolError`) broke the rules. `InternalError`: a bug in
FISSION.

All of them can be pickled, because they cross process boundaries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_NO_PLACE",
    "EXIT_OK",
    "EXIT_TERMINATED",
    "EXIT_USAGE",
    "AllocationError",
    "BlockError",
    "ConfigError",
    "DefinitionError",
    "EngineError",
    "ExecutableError",
    "Fault",
    "FissionError",
    "InternalError",
    "JobFailed",
    "LocalProtocolError",
    "NodeFault",
    "ProtocolError",
    "RatioError",
    "RemoteProtocolError",
    "SinkFileError",
    "SnapshotError",
    "Stopped",
    "UnknownNameError",
    "UserError",
    "ValueFitError",
    "error_text",
    "value_text",
]

EXIT_OK = 0  # success
EXIT_FAILED = 1  # the network failed while it ran
EXIT_USAGE = 2  # incorrect use: command line, config, network definition
EXIT_NO_PLACE = 3  # no place for a job
EXIT_INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT, by the convention of shells
EXIT_TERMINATED = 143  # SIGTERM, by the same convention


@dataclass(frozen=True)
class Fault:
    """One fault in what the user wrote.

    Args:
        text: what is wrong, what it must be, what it is, what to do; one or two sentences, without
            a trailing newline.
        where: file, or ``file:line`` if the line is known; empty if neither is.
    """

    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class FissionError(Exception):
    """Base class; never raised itself."""

    exit_code = EXIT_FAILED


class UserError(FissionError):
    """The user wrote something wrong, which was found before anything started.

    The text is for the user.
    """

    exit_code = EXIT_USAGE


class ConfigError(UserError):
    """All faults of one config or network, found together.

    Attributes:
        faults: every `Fault`, in the order of discovery; at least one.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class DefinitionError(UserError):
    """A job, pipe or node class, or a call of it, breaks a rule. Raised where it was written."""


class UnknownNameError(UserError):
    """A network, command, job or pipe with that name does not exist; the text suggests the nearest
    names.
    """


class AllocationError(UserError):
    """No node can take a job; the text gives the reason for each node."""

    exit_code = EXIT_NO_PLACE


class ValueFitError(FissionError):
    """A value that `run` returned does not fit its output: it cannot be pickled, or has the wrong
    length or number.

    The text names the job, the output, the pipe and the type of the value.
    """


class BlockError(FissionError):
    """An arrived block cannot be read, or no dummy can be made for a lost one.

    The text names the job, its input and the pipe; the cause is the exception of the pipe's
    methods, or of the methods of the value's class.
    """


class SnapshotError(FissionError):
    """A job cannot continue, because its snapshot or a retained value is damaged or missing; the
    text names the file.
    """


class SinkFileError(FissionError):
    """A sink's file has less than the sink has acknowledged: data that its producers no longer have
    is lost.

    The text names the file, how much is missing, and what to do.
    """


class JobFailed(FissionError):
    """A job's code raised, or its executable ended with an exit code other than 0.

    Attributes:
        job: name of the job, as in ``JoinJob 5``.
        report: the user's frames and the exception, for display; may have several lines.
    """

    def __init__(self, job: str, report: str) -> None:
        self.job = job
        self.report = report
        super().__init__(job, report)

    def __str__(self) -> str:
        return f"{self.job} failed:\n{self.report}"


class ExecutableError(FissionError):
    """A job's executable could not be started, or ended with an exit code other than 0; the text
    says which.
    """


class RatioError(FissionError):
    """An executable wrote more or fewer blocks than its RATIO requires; the text names job, pipe
    and numbers.
    """


class EngineError(FissionError):
    """Processes could not be started, or were lost, by the engine that hosts them."""


class NodeFault(EngineError):
    """A machine cannot provide what a job needs (disk space, a writable disk, memory, descriptors);
    another one may.
    """


class ProtocolError(FissionError):
    """Abstract: a rule of the protocol or of a state machine was broken; see the two subclasses."""


class LocalProtocolError(ProtocolError):
    """We used a state machine against its rules. The machine is unchanged."""


class RemoteProtocolError(ProtocolError):
    """The received bytes are not valid from a peer. The machine is unchanged; drop the message."""


class InternalError(FissionError):
    """A state that must not occur: a bug in FISSION. Please report it with the text."""


class Stopped(BaseException):
    """Raised in a job's main thread when the job is ordered to stop, so that `finally` blocks of
    the user's code run.

    The only exception in a job's process that is not the user's: code that converts exceptions of
    user code must let it pass.
    """


def error_text(error: BaseException) -> str:
    """Return an exception as one sentence, ``Type: text``; for FISSION's own errors the text alone.

    Never raises, whatever the exception's own methods do.
    """
    try:
        text = str(error)
        text = str.__str__(text)  # a subclass of str may override methods
    except Stopped:
        raise
    except BaseException as why:
        return f"{type(error).__name__} (its text cannot be shown: __str__ raises {type(why).__name__})"
    if isinstance(error, FissionError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def value_text(value: object, limit: int = 80) -> str:
    """Return the repr of a value, cut to ``limit`` characters.

    Never raises, whatever the value's own methods do.
    """
    try:
        text = str.__str__(repr(value))
    except Stopped:
        raise
    except BaseException as why:
        return f"<{type(value).__name__} whose __repr__ raises {type(why).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
