"""Jobs whose code is a Python method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fission.core.base_job import Asked, BaseJob
from fission.core.head import FINISHED, Head
from fission.errors import DefinitionError, Stopped, ValueFitError, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from fission.core.base_pipe import BasePipe

    class LineSource(Protocol):
        """Where a job's lines come from."""

        def readline(self) -> str | None:
            """The next line without its end; None when the console has ended. Blocks."""


#: Attributes that belong to FISSION and that `snapshot` leaves out; with them all whose name begins with ``_fission_``.
FRAMEWORK_ATTRIBUTES = frozenset(
    {
        "CHECKPOINT",
        "DEFAULT_NODE",
        "DEPENDENCIES",
        "GROUPS",
        "HEAD",
        "MAX_QUEUE",
        "PRIORITY",
        "RESTARTS",
        "STALL_TIMEOUT",
        "finished",
        "head",
        "in_heads",
        "inputs",
        "out_heads",
        "outputs",
    }
)


class PythonJob(BaseJob):
    """A job that is written in Python: override `run`, `setup` if something must be there before, `teardown` if something must be closed.

    `__init__` runs on the client, `setup`, `run` and `teardown` on the node, in the job's own folder.

    Attributes:
        head: before each `run` what `head_reduce` gave; goes out with every block. None before the first, and without HEAD.
        in_heads: one entry an input: a Head, or a list of them where BLOCK_COUNT is above 1, or None where nothing came.
        out_heads: one entry an output, None before each `run`; a Head put there goes out instead of `head`.
        finished: True once `finish` was called.
        position: number of the compute block with which this incarnation begins, from 1; in `setup` and `run`, of a job without outputs.
        block_number: number of the compute block that `run` works on, from 1, of a job with inputs. A block that is processed again has
            the same number again.
        generation: of the numbers; grows when a source begins to number anew. Generation and number together name a block.
    """

    position: Any = Asked(lambda job: job.__dict__.get("_fission_position", 1))
    block_number: Any = Asked(lambda job: host.current_number if (host := job.__dict__.get("_fission_host")) else 1)
    generation: Any = Asked(lambda job: job.__dict__.get("_fission_generation", 0))

    finished: bool = False
    head: Head | None = None
    in_heads: list[Head | list[Head] | None]
    out_heads: list[Head | None]

    _fission_console: LineSource | None = None  # set by the host of an InteractiveJob
    _fission_head_size: int = 1  # bytes; set by the host from HEAD_SIZE
    _fission_run = "run"  # name of the method that the user writes

    def __init__(
        self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.finished = False
        self.head = None
        self.in_heads = [None] * len(self.inputs)
        self.out_heads = [None] * len(self.outputs)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Called once on the node before the first `run`; here: does nothing. Hand the arguments on with super()."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """One compute block: called with one argument an input, in their order.

        A tuple that it returns has one value an output, anything else goes to all outputs; None ends a job that has outputs.
        Where nothing makes it wait (no inputs, or only ASYNC ones) it may be a generator, whose end finishes the job.
        """
        raise NotImplementedError(f"{type(self).__name__} must override run")

    def teardown(self) -> None:
        """Called once on the node after the last `run`, if `setup` has returned; here: does nothing.

        Called at every orderly end: the job has finished, or is stopped. Not called after `setup` or `run` has raised, or the process was
        killed. It has 10 seconds, and what is left of the grace of 1 second if the job is stopped. What it raises is a failure of the job.
        """

    def finish(self) -> None:
        """Says that this block is the job's last: what `run` returns is still sent, then downstream is told. Not to be called elsewhere."""
        self.finished = True
        if self.HEAD and isinstance(self.head, Head):  # a number gets the bit when it is sent
            self.head[FINISHED] = True

    def head_reduce(self) -> Head:
        """What `head` is to be for this compute block; here: the bits that are set in any of `in_heads`."""
        result = Head(0, self._fission_head_size)
        for entry in self.in_heads:
            for head in entry if isinstance(entry, list) else [entry]:
                if head is not None:
                    result = result | head
        return result

    def snapshot(self) -> Any:
        """What a new life of this job needs to go on from here; here: a dict of all attributes that are not FISSION's own.

        Called between two compute blocks by a job with CHECKPOINT, and pickled before the next one.

        Raises:
            ValueFitError: an attribute cannot be pickled; the text names it.
        """
        state = {
            name: value for name, value in self.__dict__.items() if name not in FRAMEWORK_ATTRIBUTES and not name.startswith("_fission_")
        }
        if _refusal(state) is not None:
            for name, value in state.items():
                refusal = _refusal(value)
                if refusal is not None:
                    what = f"its attribute {name} ({type(value).__name__})"
                    raise ValueFitError(
                        f"{self._fission_name} cannot be snapshot: {what} cannot be pickled: {error_text(refusal)}; "
                        "override snapshot and restore to keep what matters"
                    )
        return state

    def restore(self, state: Any) -> None:
        """Puts back what `snapshot` gave, after `setup`; here: sets the attributes.

        Raises:
            DefinitionError: the class overrides `snapshot` to give no dict, but does not override `restore`.
        """
        if not isinstance(state, dict):
            raise DefinitionError(
                f"{self._fission_name}: snapshot gave {type(state).__name__}, not a dict of attributes; override restore too"
            )
        self.__dict__.update(state)


def resumable(job: BaseJob) -> bool:
    """Whether a new life of the job can go on where the old one was: it waits for its inputs, or its source has snapshots.

    A generator cannot: nobody can look into it.
    """
    from inspect import isgeneratorfunction

    if not job._fission_is_source:
        return True
    return isinstance(job, PythonJob) and job.CHECKPOINT is not None and not isgeneratorfunction(job.run)


class LocalJob(BaseJob):
    """Mix-in for jobs that run on the client. List it before the job's class; who changes GROUPS keeps "LOCAL" in it."""

    GROUPS = "LOCAL"


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def _refusal(value: object) -> BaseException | None:
    """Why `value` cannot be pickled. Big buffers are left out of band, so that this costs no copy of them."""
    import pickle

    try:
        pickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: None).dump(value)
    except Stopped:
        raise
    except BaseException as error:  # pickling runs the user's __reduce__, which may raise anything
        return error
    return None
