"""Jobs that write down what the network does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.base_pipe import BasePipe
from fission.core.file_sinks import FileSinkJob
from fission.core.python_job import PythonJob
from fission.core.values_as_text import as_text
from fission.errors import DefinitionError, ValueFitError, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 1 << 20  # bytes read at once when an existing file is looked through; arbitrary


class CSVSinkJob(FileSinkJob):
    """Writes what comes in to a CSV file on the client: a header, then one row a compute block, one column an input.

    Values are written in full: text as it is, numbers exactly, arrays and other containers as JSON (see docs/sinks.md). The
    file is UTF-8. A row is in the file (handed to the operating system) when `run` returns; for the rest see `FileSinkJob`.

    Args:
        path: of the file, relative to the job's folder; missing folders are made.
        col_pattern: heading of a column; ``{pipe}`` and ``{job}`` are filled in.
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None, col_pattern: str = "pipe_{pipe.id}") -> None:
        super().__init__(path, inputs=inputs)
        self.col_pattern = col_pattern

    def columns(self) -> list[str]:
        """The header."""
        return [self.col_pattern.format(pipe=pipe, job=self) for pipe in self.inputs]

    def rows(self, *values: Any) -> list[list[str]]:
        """The rows of one compute block."""
        return [[as_text(value) for value in values]]

    def encode(self, *values: Any) -> bytes:
        return _csv_lines(self.rows(*values))

    def file_start(self) -> bytes:
        return _csv_lines([self.columns()])

    def adopt(self, start: bytes, size: int) -> int:
        """All complete rows of a file with the same columns; a torn last row is cut off."""
        import csv

        with open(self.path, "rb") as file:
            rows, end = _complete_rows(file)
            _, header_end = _complete_rows(file, 1)
        if not rows:
            return 0
        header = next(csv.reader([start[:header_end].decode("utf-8", "replace")]))
        if header != self.columns():
            raise DefinitionError(
                f"{self.name}: {os.fspath(self.path)} exists with other columns ({', '.join(header)} instead of "
                f"{', '.join(self.columns())}); move it away"
            )
        return end

    def definition_faults(self) -> list[str]:
        faults = super().definition_faults()
        try:
            self.columns()
        except BaseException as error:  # the pattern reaches into any attribute of pipe and job
            faults.append(f"col_pattern {self.col_pattern!r} cannot be filled in: {error_text(error)}")
        return faults


class _Lines(list[str]):
    """What a csv.writer writes to."""

    write = list.append


def _csv_lines(rows: Sequence[Sequence[str]]) -> bytes:
    """Rows as CSV in UTF-8. Half of a surrogate pair, which UTF-8 has no bytes for, becomes the three bytes of ``surrogatepass``."""
    import csv

    lines = _Lines()
    csv.writer(lines).writerows(rows)
    return "".join(lines).encode("utf-8", "surrogatepass")


class LoggingSinkJob(CSVSinkJob):
    """Writes the records of `LoggingJob`s to a CSV file on the client: one row a record.

    Columns: job (its label), pid, state (of its process), cpu_percent, memory_percent, time in and time out (seconds since 1970).
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None) -> None:
        super().__init__(path, inputs=inputs)

    def columns(self) -> list[str]:
        return list(LOG_COLUMNS)

    def rows(self, *values: Any) -> list[list[str]]:
        records: list[Any] = []
        for value, pipe in zip(values, self.inputs):  # noqa: B905 - run's arguments are one an input
            records += value if pipe.BLOCK_COUNT > 1 else [value]
        return [[as_text(entry) for entry in record] if isinstance(record, (list, tuple)) else [as_text(record)] for record in records]


LOG_COLUMNS = ("job", "pid", "state", "cpu_percent", "memory_percent", "time in", "time out")


class LoggingJob(PythonJob):
    """A job that sends a record of each compute block to a `LoggingSinkJob`.

    Override `run_job`, and `init_job` and `setup_job` if needed, where other jobs override `run`, `__init__` and `setup`.

    Args:
        args, kwargs: handed to `init_job`.
        logging_output: the pipe of the records, a PicklePipe; it becomes the last of `outputs`. None: no records.
        name: what the records call the job; kept as `label`. Left out: class and id.
    """

    _fission_run = "run_job"

    def __init__(
        self,
        *args: Any,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
        logging_output: BasePipe | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        extra = [] if logging_output is None else [logging_output]
        super().__init__(inputs=inputs, outputs=[*(outputs or ()), *extra])
        self.label = self.name if name is None else name
        self._fission_logs = logging_output is not None
        self._fission_process: Any = None
        self.init_job(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A generator can only be told by its function, so run has to be one where run_job is.
        if "run_job" in cls.__dict__ and "run" not in cls.__dict__:
            cls.run = LoggingJob._run_generator if isgeneratorfunction(cls.run_job) else LoggingJob._run_once  # type: ignore[method-assign]

    def init_job(self, *args: Any, **kwargs: Any) -> None:
        """As `__init__` of other jobs, on the client; id and pipes are there already."""

    def setup_job(self, *args: Any, **kwargs: Any) -> None:
        """As `setup` of other jobs, on the node."""

    def run_job(self, *args: Any, **kwargs: Any) -> Any:
        """As `run` of other jobs; a tuple has one value an output, not counting the one for records."""
        raise NotImplementedError(f"{type(self).__name__} must override run_job")

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        if self._fission_logs:
            try:
                import psutil  # type: ignore[import-untyped, unused-ignore]
            except ModuleNotFoundError:
                raise DefinitionError(f"{self.name} measures its process with psutil, which is not installed: pip install psutil") from None
            self._fission_process = psutil.Process()
            self._fission_process.cpu_percent(None)  # what it gives is the share since the last call
        self.setup_job(*args, **kwargs)

    def run(self, *values: Any) -> Any:
        return self._run_once(*values)

    def _run_once(self, *values: Any) -> Any:
        time_in, began = time.time(), time.monotonic()
        return self._with_record(self.run_job(*values), time_in, began)

    def _run_generator(self, *values: Any) -> Iterator[Any]:
        results = iter(self.run_job(*values))
        while True:
            time_in, began = time.time(), time.monotonic()
            try:
                result = next(results)
            except StopIteration:
                return
            yield self._with_record(result, time_in, began)

    def _with_record(self, result: Any, time_in: float, began: float) -> Any:
        if not self._fission_logs:
            return result
        others = len(self.outputs) - 1
        if result is None and others:
            return None  # ends the job, as it does for others
        if not isinstance(result, tuple):
            result = (result,) * others
        elif len(result) != others:
            raise ValueFitError(f"{self.name}: run_job returned a tuple of {len(result)} values for {others} outputs")
        process = self._fission_process
        record = [
            self.label,
            process.pid,
            process.status(),
            process.cpu_percent(None),
            round(process.memory_percent(), 3),
            time_in,
            time_in + time.monotonic() - began,  # the clock may be set in between
        ]
        return (*result, record)

    def definition_faults(self) -> list[str]:
        from fission.core.pipes import PicklePipe

        faults = super().definition_faults()
        if self._fission_logs and self.outputs and not isinstance(self.outputs[-1], PicklePipe):
            faults.append(f"logging_output must be a PicklePipe, not {self.outputs[-1]}")
        return faults


def _complete_rows(file: BinaryIO, limit: int | None = None) -> tuple[int, int]:
    """How many complete rows (at most `limit`) a CSV file has, the header included, and the offset behind the last of them.

    A line feed ends a row unless it is inside quotes; neither byte occurs inside a character of UTF-8.
    """
    file.seek(0)
    read: Callable[[], bytes] = lambda: file.read(_PIECE)  # noqa: E731 - typed for iter
    rows = end = offset = 0
    quoted = False
    for piece in iter(read, b""):
        for index, part in enumerate(piece.split(b'"')):
            if index:
                quoted = not quoted
                offset += 1
            if not quoted:
                at = part.find(b"\n")
                while at >= 0:
                    rows, end = rows + 1, offset + at + 1
                    if rows == limit:
                        return rows, end
                    at = part.find(b"\n", at + 1)
            offset += len(part)
    return rows, end
