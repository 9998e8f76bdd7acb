"""Jobs that run any executable."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fission.core.base_job import BaseJob
from fission.core.base_pipe import BasePipe

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExecutableJob(BaseJob):
    """An executable that gets a flag and the path of a named pipe for each input and each output.

    Exit code 0 means finished, any other code means failed.

    Class attributes, for subclasses to override:
        EXECUTABLE: the command, quoted as in a shell but started without one; a path is relative to
            the job's folder, which contains DEPENDENCIES.
        PARAMETERS: further arguments, quoted as in a shell.
        INPUT_FLAG, OUTPUT_FLAG: the flag before each input and each output.
        OUTPUTS_FLAG: if set, replaces OUTPUT_FLAG (a spelling in some documents).
        RATIO: number of blocks that it writes to each output for one block of its first input, an
            int or a `fractions.Fraction` above 0; None if that varies, or if it keeps some back for
            good: blocks that a program has read when it dies are then lost, and counted. A job that
            does not set it has 1 until its program deviates, and None from then on, with a warning.
    """

    EXECUTABLE: str | None = None
    PARAMETERS: str | None = None
    INPUT_FLAG: str = "-i"
    OUTPUT_FLAG: str = "-o"
    OUTPUTS_FLAG: str | None = None
    RATIO: int | Fraction | None = 1

    _fission_passes = "paths"  # the kind of arguments after the flags; read by the host

    def command(self, input_arguments: Sequence[str], output_arguments: Sequence[str]) -> list[str]:
        """Return the argument list: executable, parameters, then a flag and an argument for each
        pipe, inputs first.

        Args:
            input_arguments: one for each pipe of `inputs`, in order.
            output_arguments: one for each pipe of `outputs`, in order.

        Raises:
            ValueError: EXECUTABLE or PARAMETERS has an unclosed quote.
        """
        import shlex

        command = shlex.split(self.EXECUTABLE or "") + shlex.split(self.PARAMETERS or "")
        output_flag = self.OUTPUT_FLAG if self.OUTPUTS_FLAG is None else self.OUTPUTS_FLAG
        for flag, arguments in ((self.INPUT_FLAG, input_arguments), (output_flag, output_arguments)):
            for argument in arguments:
                command += [flag, argument]
        return command

    def _fission_faults(self) -> list[str]:
        """Add: a pipe whose blocks have no fixed length must find the end of a block that the
        executable writes.
        """
        faults = super()._fission_faults()
        if self.BLOCK_TIME:
            faults.append("BLOCK_TIME must be False: a program cannot ask for the times of its blocks; remove it")
        if self.CHECKPOINT is not None:
            faults.append("CHECKPOINT must be None: FISSION cannot take a snapshot of a program; remove it")
        for pipe in self.outputs:
            kind = type(pipe)
            own = kind.read_wrapper is not BasePipe.read_wrapper or kind.read is not BasePipe.read
            if isinstance(pipe.BLOCK_SIZE, str) and not own:
                faults.append(
                    f"an executable writes into {pipe}, whose blocks have no fixed length (BLOCK_SIZE is {pipe.BLOCK_SIZE!r}); "
                    f"override read or read_wrapper in {kind.__name__}, or set BLOCK_SIZE to a number of bytes"
                )
        return faults


def output_ratio(job: BaseJob) -> Fraction | None:
    """Return the number of blocks that a job sends to each output for one compute block; None if
    unknown.
    """
    if not isinstance(job, ExecutableJob):
        return Fraction(1)
    if job.RATIO is None:
        return None
    return Fraction(job.RATIO) * next((pipe.BLOCK_COUNT for pipe in job.inputs if not pipe.ASYNC), 1)


def declares_ratio(job: ExecutableJob) -> bool:
    """Return whether the user has set RATIO, in a class or an object; otherwise it is the default
    of `ExecutableJob`.
    """
    return "RATIO" in vars(job) or any("RATIO" in vars(kind) for kind in type(job).__mro__ if kind is not ExecutableJob)


class MARVELOJob(ExecutableJob):
    """An `ExecutableJob` whose arguments after the flags are numbers of file descriptors that it
    inherits.
    """

    _fission_passes = "descriptors"


class DynamicExecutableJob(ExecutableJob):
    """An `ExecutableJob` that needs no class of its own: its arguments set everything.

    Args:
        dependencies: DEPENDENCIES, as a class attribute.
        executable: EXECUTABLE.
        parameters: PARAMETERS.
        groups: GROUPS.
        input_flag: INPUT_FLAG.
        output_flag: OUTPUT_FLAG.
        head: HEAD.
        inputs: pipes.
        outputs: pipes.
        **attributes: default_node, max_queue, priority, ratio, restarts.

    Raises:
        TypeError: an argument with another name.
    """

    def __init__(
        self,
        dependencies: Any = None,
        executable: str | None = None,
        parameters: str = "",
        groups: str | Sequence[str] = "ALL",
        input_flag: str = "-i",
        output_flag: str = "-o",
        head: bool = False,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.DEPENDENCIES = dependencies
        self.EXECUTABLE = executable
        self.PARAMETERS = parameters
        self.GROUPS = groups
        self.INPUT_FLAG = input_flag
        self.OUTPUT_FLAG = output_flag
        self.HEAD = head
        for name, value in attributes.items():
            if name not in ("default_node", "max_queue", "priority", "ratio", "restarts"):
                raise TypeError(f"{type(self).__name__} has no argument {name!r}")
            setattr(self, name.upper(), value)


class DynamicMARVELOJob(DynamicExecutableJob, MARVELOJob):
    """A `MARVELOJob` that needs no class of its own; arguments as for `DynamicExecutableJob`."""
