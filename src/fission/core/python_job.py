"""Jobs written in Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fission.core.base_job import BaseJob, ComputedAttribute
from fission.core.block_time import BlockTime
from fission.core.head import FINISHED, Head
from fission.core.network_time import NetworkTime
from fission.errors import DefinitionError, Stopped, ValueFitError, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    import numpy

    from fission.core.base_pipe import BasePipe

    class LineSource(Protocol):
        """The source of a console's lines."""

        def readline(self) -> str | None:
            """Return the next line without its end; None when the console has ended. Blocks."""


#: FISSION's own attributes, which `snapshot` leaves out, like all names that begin with ``_fission_``.
FRAMEWORK_ATTRIBUTES = frozenset(
    {
        "BLOCK_TIME",
        "CHECKPOINT",
        "DEADLINE",
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
    """A job written in Python: override `run`, and `setup` and `teardown` if needed.

    `__init__` runs on the client; `setup`, `run` and `teardown` run on the node, in the job's own
    folder.

    Attributes:
        head: before each `run` the result of `head_reduce`; sent with every block. None before the
            first `run`, and without HEAD.
        in_heads: one entry for each input: a Head, a list of Heads where BLOCK_COUNT is above 1, or
            None where no block arrived.
        out_heads: one entry for each output, None before each `run`; a Head stored there is sent
            instead of `head`.
        finished: True once `finish` was called.
        position: number of the first compute block of this incarnation, from 1; for jobs without
            outputs, in `setup` and `run`.
        block_number: number of the compute block that `run` processes, from 1; for jobs with
            inputs. The same when a block is processed again.
        generation: generation of the numbers; grows when a source numbers its blocks from 1 again.
            Generation and number together identify a block.
        block_time: when the blocks of sources were made that the compute block comes from, a
            `BlockTime`; for jobs with BLOCK_TIME. A source may set it, to seconds since 1970 or a
            BlockTime, before it returns or yields a block: otherwise the block has the time at which
            that happens.
    """

    position: Any = ComputedAttribute(lambda job: job.__dict__.get("_fission_position", 1))
    block_number: Any = ComputedAttribute(lambda job: host.current_number if (host := job.__dict__.get("_fission_host")) else 1)
    generation: Any = ComputedAttribute(lambda job: job.__dict__.get("_fission_generation", 0))

    block_time: Any = ComputedAttribute(lambda job: host.block_time if (host := job.__dict__.get("_fission_host")) else BlockTime.now())

    finished: bool = False
    head: Head | None = None
    in_heads: list[Head | list[Head] | None]
    out_heads: list[Head | None]

    _fission_console: LineSource | None = None  # set by the host of an InteractiveJob
    _fission_head_size: int = 1  # bytes; set by the host from HEAD_SIZE
    _fission_run = "run"  # name of the method that the user overrides

    def __init__(
        self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.finished = False
        self.head = None
        self.in_heads = [None] * len(self.inputs)
        self.out_heads = [None] * len(self.outputs)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Called once on the node before the first `run`; by default does nothing.

        Pass the arguments to super().
        """

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Process one compute block. Called with one argument for each input, in order.

        A returned tuple has one value for each output, any other value goes to all outputs; None
        ends a job that has outputs. A source (no inputs, or only ASYNC ones) may be a generator,
        whose end finishes the job.
        """
        raise NotImplementedError(f"{type(self).__name__} must override run")

    #: Whether it is known and documented that a new incarnation does some blocks again.
    _fission_may_repeat = False

    def _fission_begins_once(self) -> bool:
        """Whether the state after `setup` must be stored before the first block is sent.

        That is so if `setup` in another incarnation would not make the same state. May wait until that state is
        known.
        """
        return False

    def teardown(self) -> None:
        """Called once on the node after the last `run`, if `setup` has returned; by default does
        nothing.

        Called at every orderly end: the job has finished, or is stopped. Not called after `setup`
        or `run` has raised, or the process was killed. It has 10 seconds, or if the job is stopped
        the rest of its 1 second. An exception is a failure of the job.
        """

    def finish(self) -> None:
        """Make this block the job's last: the result of this `run` is still sent, unless it is None.

        Call it only in `run`.
        """
        self.finished = True
        if self.HEAD and isinstance(self.head, Head):  # a number gets the bit when it is sent
            self.head[FINISHED] = True

    def network_time(self) -> NetworkTime:
        """Return the time of day of the client's clock, which all jobs of the network share.

        It is compared with the clock of this machine by the pulses of its node; `error_s` of the result
        is its largest error. It does not jump when the clock of this machine is set. On the client's
        machine, in `simulate` and outside of a network it is this machine's time, with the error 0.

        The first call in `run` takes a round trip to the client, at most 1 s. If the clocks have not been
        compared yet, and in `setup`, it is the time of this machine's clock, with an infinite error.
        """
        host = self.__dict__.get("_fission_host")
        return NetworkTime(time.time(), 0.0) if host is None else host.network_time()

    def new_array(self, shape: int | Sequence[int], dtype: Any = float) -> numpy.ndarray[Any, Any]:
        """Return a numpy array to compute a result in, which is sent without being copied.

        Like `numpy.empty`, the array is uninitialised. Use it as ``out`` of the last operation::

            out = self.new_array(x.shape, x.dtype)
            numpy.multiply(x, 2.0, out=out)
            return out

        The array is in memory that consumers on this machine share. It is recognised when it is
        returned on a `PicklePipe`, alone or inside other values, or as the block of a `BytesPipe`,
        also reshaped, on one output or several. It is copied if there is no shared memory, if that
        is full, if a consumer is on another machine, if the array has less than 64 KiB (on a
        `BytesPipe` without VIEW, 256 KiB), or if another thread than the job's own has requested it.

        *Returning gives the array away.* From then on it is read-only, copied or not: writing to it
        raises ValueError. The job may keep reading it, and return it again. A part of it, or a
        transposed array, is copied like any array, and the array stays writeable.

        The array is also copied if other arrays on its memory exist when it is returned, such as a
        slice in a variable of a generator. FISSION sees only numpy arrays: after the return, do not
        write through a memoryview, a tensor, an array of a subclass or a pointer that was made from
        the array earlier.

        Memory that is never returned is freed with the array.

        Args:
            shape: number of elements in each dimension, or one int.
            dtype: type of the elements, as for `numpy.empty`. Arrays of Python objects, dates and
                time spans are ordinary arrays, which are copied and stay writeable.

        Raises:
            DefinitionError: numpy is not installed.
            TypeError: `shape` or `dtype` is invalid.
            ValueError: `shape` has a negative number, or is too large.
        """
        from fission.core import new_arrays

        host = self.__dict__.get("_fission_host")
        try:
            return new_arrays.make(shape, dtype, _no_memory if host is None else host.new_memory)
        except ModuleNotFoundError as why:
            if why.name != "numpy":
                raise
            raise DefinitionError(
                f"{self._fission_name}: new_array needs numpy, which is not installed; install it: pip install numpy"
            ) from None

    def head_reduce(self) -> Head:
        """Return `head` for this compute block; by default the bits that are set in any of
        `in_heads`.
        """
        result = Head(0, self._fission_head_size)
        for entry in self.in_heads:
            for head in entry if isinstance(entry, list) else [entry]:
                if head is not None:
                    result = result | head
        return result

    def snapshot(self) -> Any:
        """Return the state from which a new incarnation continues; by default a dict of the user's
        attributes.

        Called between two compute blocks of a job with CHECKPOINT, and pickled before the next one.

        Raises:
            ValueFitError: an attribute cannot be pickled; the message names it.
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
                        f"{self._fission_name} has a state that cannot be saved: {what} cannot be pickled: {error_text(refusal)}; "
                        "override snapshot and restore to keep the state that matters"
                    )
        return state

    def restore(self, state: Any) -> None:
        """Restore the result of `snapshot`, after `setup`; by default sets the attributes.

        Raises:
            DefinitionError: the class overrides `snapshot` to return another type than dict, but
                does not override `restore`.
        """
        if not isinstance(state, dict):
            raise DefinitionError(
                f"{self._fission_name}: snapshot must return a dict, but returned {type(state).__name__}; override restore too"
            )
        self.__dict__.update(state)


def resumable(job: BaseJob) -> bool:
    """Return whether a new incarnation of the job can continue: it has inputs to wait for, or it is
    a source with snapshots.

    A generator cannot, because its state is inaccessible.
    """
    from inspect import isgeneratorfunction

    if not job._fission_is_source:
        return True
    return isinstance(job, PythonJob) and job.CHECKPOINT is not None and not isgeneratorfunction(job.run)


class LocalJob(BaseJob):
    """Mix-in for jobs that run on the client.

    List it before the job's class; GROUPS must contain "LOCAL".
    """

    GROUPS = "LOCAL"


def _no_memory(size: int) -> None:
    """Return no shared memory: the job does not run in a network."""


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def _refusal(value: object) -> BaseException | None:
    """Return why a value cannot be pickled, or None.

    Large buffers stay out of band, so they are not copied.
    """
    import pickle

    try:
        pickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: None).dump(value)
    except Stopped:
        raise
    except BaseException as error:  # pickling calls the user's __reduce__, which may raise anything
        return error
    return None
