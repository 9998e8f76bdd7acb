"""Jobs that write down what the network does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.base_pipe import BasePipe
from fission.core.python_job import LocalJob, PythonJob
from fission.errors import DefinitionError, ValueFitError, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 1 << 20  # bytes read at once when an existing file is looked through; arbitrary


class CSVSinkJob(LocalJob, PythonJob):
    """Writes what comes in to a CSV file on the client: a header, then one row a compute block, one column an input.

    A row is in the file (handed to the operating system) when `run` returns. If the file exists when the job is set up, as after
    a restart, a last row that is not complete is cut off and the file is continued.

    Args:
        path: of the file, relative to the job's folder; missing folders are made.
        col_pattern: heading of a column; ``{pipe}`` and ``{job}`` are filled in.
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None, col_pattern: str = "pipe_{pipe.id}") -> None:
        super().__init__(inputs=inputs)
        self.path = path
        self.col_pattern = col_pattern
        self._fission_file: Any = None
        self._fission_writer: Any = None
        self._fission_rows = 0

    @property
    def blocks_written(self) -> int:
        """How many compute blocks are completely in the file. A new life of the job goes on behind them."""
        if self._fission_file is None:
            try:
                with open(self.path, "rb") as file:
                    rows, _ = _complete_rows(file)
            except FileNotFoundError:
                return 0
            return max(rows - 1, 0) // self._rows_per_block()
        return self._fission_rows // self._rows_per_block()

    def columns(self) -> list[str]:
        """The header."""
        return [self.col_pattern.format(pipe=pipe, job=self) for pipe in self.inputs]

    def rows(self, *values: Any) -> list[list[str]]:
        """The rows of one compute block; always as many."""
        return [[str(value) for value in values]]

    def _rows_per_block(self) -> int:
        return 1

    def definition_faults(self) -> list[str]:
        faults = super().definition_faults()
        path: Any = self.path
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            faults.append(f"path must be the path of a file, not {path!r}")
        if not self.inputs:
            faults.append("it writes what comes in, but has no inputs")
        try:
            self.columns()
        except BaseException as error:  # the pattern reaches into any attribute of pipe and job
            faults.append(f"col_pattern {self.col_pattern!r} cannot be filled in: {error_text(error)}")
        return faults

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Opens the file; see the class.

        Raises:
            DefinitionError: the file cannot be written, or has another header, so it is not this job's.
        """
        import csv

        super().setup(*args, **kwargs)
        try:
            folder = os.path.dirname(os.fspath(self.path))
            if folder:
                os.makedirs(folder, exist_ok=True)
            header, self._fission_rows = self._cut()
            self._fission_file = open(self.path, "a", newline="", encoding="utf-8")  # noqa: SIM115 - open as long as the job lives
        except OSError as why:
            raise DefinitionError(
                f"{self.name}: its file {os.fspath(self.path)!r} cannot be written: {why}; a path is relative to the job's folder, "
                "or absolute"
            ) from None
        self._fission_writer = csv.writer(self._fission_file)
        if header is None:
            self._fission_writer.writerow(self.columns())
            self._fission_file.flush()

    def _cut(self) -> tuple[list[str] | None, int]:
        """Cuts what is not a complete compute block off the file's end; gives its header (None: it has none) and its rows."""
        import csv

        try:
            file = open(self.path, "r+b")  # noqa: SIM115 - the with-statement follows
        except FileNotFoundError:
            return None, 0
        with file:
            lines, end = _complete_rows(file)
            if lines == 0:
                file.truncate(0)
                return None, 0
            kept = 1 + (lines - 1) // self._rows_per_block() * self._rows_per_block()
            if kept < lines:
                _, end = _complete_rows(file, kept)
            _, header_end = _complete_rows(file, 1)
            file.seek(0)
            header = next(csv.reader([file.read(header_end).decode("utf-8", "replace")]))
            if header != self.columns():
                raise DefinitionError(
                    f"{self.name}: {os.fspath(self.path)} exists with other columns ({', '.join(header)} instead of "
                    f"{', '.join(self.columns())}); move it away"
                )
            file.truncate(end)
            return header, kept - 1

    def run(self, *values: Any) -> None:
        rows = self.rows(*values)
        self._fission_writer.writerows(rows)
        self._fission_file.flush()
        self._fission_rows += len(rows)


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
        return [[str(entry) for entry in record] if isinstance(record, (list, tuple)) else [str(record)] for record in records]

    def _rows_per_block(self) -> int:
        return sum(pipe.BLOCK_COUNT for pipe in self.inputs) or 1


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
