"""Jobs that record data and measurements of the network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.base_job import ComputedAttribute
from fission.core.base_pipe import BasePipe
from fission.core.file_sinks import FileSinkJob
from fission.core.python_job import PythonJob
from fission.core.registry import current
from fission.core.values_as_text import as_text
from fission.errors import DefinitionError, ValueFitError, error_text

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Columns of a CSVSinkJob with ``time``.
TIME_COLUMNS = ("time_earliest", "time_latest")
_PIECE = 1 << 20  # bytes read at once while an existing file is scanned; arbitrary


class CSVSinkJob(FileSinkJob):
    """Writes its input to a CSV file on the client: a header, then a row for each compute block, a
    column for each input.

    Values are written in full: text unchanged, numbers exactly, lists, tuples, dicts and sets as
    Python literals, arrays as JSON (see docs/sinks.md). The file is UTF-8. A row is in the file (handed to the operating system)
    when `run` returns; for the rest see `FileSinkJob`.

    Args:
        path: path of the file, relative to the job's folder; missing folders are created.
        col_pattern: heading of a column; ``{pipe}`` and ``{job}`` are replaced.
        time: whether each row begins with two columns, ``time_earliest`` and ``time_latest``: when the
            blocks of sources were made that it comes from (`block_time`).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inputs: Sequence[BasePipe] | None = None,
        col_pattern: str = "pipe_{pipe.id}",
        *,
        time: bool = False,
    ) -> None:
        super().__init__(path, inputs=inputs)
        self.col_pattern = col_pattern
        self._fission_writes_time = time
        if time:
            self.BLOCK_TIME = True

    _fission_writes_time: Any = False

    #: A text file and a csv.writer that append to the sink's file, for subclasses with their own `run`. An attribute that such a class
    #: sets itself replaces them.
    file: Any = ComputedAttribute(lambda job: _SinkText(job))
    writer: Any = ComputedAttribute(lambda job: _writer(_SinkText(job)))

    def columns(self) -> list[str]:
        """Return the header."""
        return [self.col_pattern.format(pipe=pipe, job=self) for pipe in self.inputs]

    def rows(self, *values: Any) -> list[list[str]]:
        """Return the rows of one compute block."""
        return [[as_text(value) for value in values]]

    def encode(self, *values: Any) -> bytes:
        rows = self.rows(*values)
        if self._fission_writes_time:
            time = [as_text(second) for second in self.block_time[:2]]
            rows = [[*time, *row] for row in rows]
        return _csv_lines(rows)

    def file_start(self) -> bytes:
        return _csv_lines([self._fission_header()])

    def _fission_header(self) -> list[str]:
        return [*(TIME_COLUMNS if self._fission_writes_time else ()), *self.columns()]

    def adopt(self, start: bytes, size: int) -> int:
        """Keep all complete rows of a file with the same columns; cut off a torn last row."""
        with open(self.path, "rb") as file:
            rows, end = _complete_rows(file)
        if not rows:
            return 0
        self._fission_compare("exists", "move it away")
        return end

    def _fission_continue(self, start: bytes) -> None:
        if type(self).file_start is CSVSinkJob.file_start:
            self._fission_compare("was begun", "continue the run with these, or start a new run")

    def _fission_compare(self, what: str, to_do: str) -> None:
        """Check that the file has this job's columns.

        Raises:
            DefinitionError: it has other ones.
        """
        import csv

        with open(self.path, "rb") as file:
            _, end = _complete_rows(file, 1)
            file.seek(0)
            found = file.read(end)
        header = next(csv.reader([found.decode("utf-8", "replace")]), [])
        if header != self._fission_header() and found != self.file_start():  # the latter: with a lone surrogate
            raise DefinitionError(
                f"{self._fission_name}: {os.fspath(self.path)} {what} with other columns ({', '.join(header)} instead of "
                f"{', '.join(self._fission_header())}); {to_do}"
            )

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if not isinstance(self._fission_writes_time, bool):
            faults.append(f"time must be True or False, but is {self._fission_writes_time!r}")
        try:
            self.columns()
        except BaseException as error:  # the pattern reaches into any attribute of pipe and job
            faults.append(f"col_pattern {self.col_pattern!r} cannot be filled in: {error_text(error)}")
        return faults


class _SinkText:
    """The sink's file as a writable text file.

    Written text is part of the current compute block.
    """

    def __init__(self, job: CSVSinkJob) -> None:
        self._job = job
        self.name = os.fspath(job.path)

    def write(self, text: str) -> int:
        self._job.append(_utf8(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Do nothing: the operating system already has the text."""

    def close(self) -> None:
        """Do nothing: FISSION closes the file at the job's end."""


def _writer(file: Any) -> Any:
    import csv

    return csv.writer(file)


def _utf8(text: str) -> bytes:
    """Encode text in UTF-8; a lone surrogate becomes the three bytes of ``surrogatepass``."""
    return text.encode("utf-8", "surrogatepass")


class _Lines(list[str]):
    """The file of a csv.writer: a list of lines."""

    write = list.append


def _csv_lines(rows: Sequence[Sequence[str]]) -> bytes:
    lines = _Lines()
    _writer(lines).writerows(rows)
    return _utf8("".join(lines))


class LoggingSinkJob(CSVSinkJob):
    """Writes the records of `LoggingJob`s to a CSV file on the client, one row for each record.

    Columns: job (its name), pid, state (number of earlier records of this incarnation), cpu_percent
    (of all cores), memory_percent, time in and time out (seconds since 1970), process (its state,
    as
    in ``running``), core_percent (of one core).
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None) -> None:
        super().__init__(path, inputs=inputs)

    def columns(self) -> list[str]:
        return list(LOG_COLUMNS)

    def rows(self, *values: Any) -> list[list[str]]:
        records: list[Any] = []
        for value, pipe in zip(values, self.inputs):  # noqa: B905 - run has one argument for each input
            records += value if pipe.BLOCK_COUNT > 1 else [value]
        return [[as_text(entry) for entry in record] if isinstance(record, (list, tuple)) else [as_text(record)] for record in records]


LOG_COLUMNS = ("job", "pid", "state", "cpu_percent", "memory_percent", "time in", "time out", "process", "core_percent")


class LoggingJob(PythonJob):
    """A job that sends a record of each compute block to a `LoggingSinkJob`.

    Override `run_job`, and `init_job` and `setup_job` if needed, where other jobs override `run`,
    `__init__` and `setup`.

    Args:
        *args: passed to `init_job`. If the first are lists of pipes, they are inputs, outputs,
            logging_output and name, in this order, and only the others are passed on.
        **kwargs: passed to `init_job`.
        logging_output: the pipe of the records, a PicklePipe, added as the last of `outputs`; None:
            no records.
        name: the job's name in the records, and everywhere else unless another job has that name;
            default: class and id.

    Attributes, unless a class has its own of that name:
        name, label: the job's name in the records.
        counter: number of records sent by this incarnation.
        p: the `psutil.Process` of the job.
    """

    name: Any = ComputedAttribute(lambda job: job._fission_label or job._fission_name)
    label: Any = ComputedAttribute(lambda job: job.name)
    counter: Any = ComputedAttribute(lambda job: job._fission_counter)
    p: Any = ComputedAttribute(lambda job: job._fission_process or _this_process(job))

    _fission_counter = 0
    _fission_label = ""
    _fission_process: Any = None

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
        if inputs is None and outputs is None and logging_output is None and _are_pipes(args[:3]):
            found = [*args[:4], None, None, None]
            inputs, outputs, logging_output = found[:3]
            name, args = found[3] or name, args[4:]
        extra = [] if logging_output is None else [logging_output]
        super().__init__(inputs=inputs, outputs=[*(outputs or ()), *extra])
        self._fission_set_name(name)
        self._fission_logs = logging_output is not None
        self.init_job(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A generator is recognised by its function, so run must be one where run_job is.
        if "run_job" in cls.__dict__ and "run" not in cls.__dict__:
            cls.run = LoggingJob._fission_run_generator if isgeneratorfunction(cls.run_job) else LoggingJob._fission_run_once  # type: ignore[method-assign]

    def _fission_set_name(self, name: Any) -> None:
        if not name:  # in MARVELO an empty name means none
            return
        # Records of two jobs may have the same name, everything else needs unique names.
        if any(job is not self and job._fission_name == name for job in current().jobs.values()):
            self._fission_label = name
        else:
            super()._fission_set_name(name)

    def init_job(self, *args: Any, **kwargs: Any) -> None:
        """Replaces `__init__` of other jobs, on the client; id and pipes are already set."""

    def setup_job(self, *args: Any, **kwargs: Any) -> None:
        """Replaces `setup` of other jobs, on the node."""

    def run_job(self, *args: Any, **kwargs: Any) -> Any:
        """Replaces `run` of other jobs; a tuple has one value for each output except the one for
        records.
        """
        raise NotImplementedError(f"{type(self).__name__} must override run_job")

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        if self._fission_logs:
            self._fission_process = _this_process(self)
            self._fission_process.cpu_percent(None)  # returns the share since the previous call
        self.setup_job(*args, **kwargs)

    def run(self, *values: Any) -> Any:
        return self._fission_run_once(*values)

    def _fission_run_once(self, *values: Any) -> Any:
        time_in, began = time.time(), time.monotonic()
        return self._fission_with_record(self.run_job(*values), time_in, began)

    def _fission_run_generator(self, *values: Any) -> Iterator[Any]:
        results = iter(self.run_job(*values))
        while True:
            time_in, began = time.time(), time.monotonic()
            try:
                result = next(results)
            except StopIteration:
                return
            yield self._fission_with_record(result, time_in, began)

    def _fission_with_record(self, result: Any, time_in: float, began: float) -> Any:
        if not self._fission_logs:
            return result
        others = len(self.outputs) - 1
        if result is None and others:
            return None  # ends the job, as for others
        if not isinstance(result, tuple):
            result = (result,) * others
        elif len(result) != others:
            raise ValueFitError(f"{self._fission_name}: run_job returned a tuple of {len(result)} values for {others} outputs")
        time_out = time_in + time.monotonic() - began  # the clock may be set meanwhile
        process, cpu = self._fission_process, self._fission_process.cpu_percent(None)
        record = [
            self.name,
            process.pid,
            self._fission_counter,
            cpu / (os.cpu_count() or 1),
            round(process.memory_percent(), 3),
            time_in,
            time_out,
            process.status(),
            cpu,
        ]
        self._fission_counter += 1
        return (*result, record)

    def _fission_faults(self) -> list[str]:
        from fission.core.pipes import PicklePipe

        faults = super()._fission_faults()
        if self._fission_logs and self.outputs and not isinstance(self.outputs[-1], PicklePipe):
            faults.append(f"logging_output must be a PicklePipe, but is {self.outputs[-1]}")
        return faults


def _this_process(job: LoggingJob) -> Any:
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError:
        text = f"{job._fission_name} measures its process with psutil, which is not installed; install it: python3 -m pip install psutil"
        raise DefinitionError(text) from None
    return psutil.Process()


def _are_pipes(given: tuple[Any, ...]) -> bool:
    """Return whether the first arguments are inputs, outputs and logging_output, as in MARVELO."""
    lists, output = given[:2], given[2:]
    found = [pipe for entry in lists if isinstance(entry, (list, tuple)) for pipe in entry] + [
        entry for entry in output if entry is not None
    ]
    fits = all(entry is None or isinstance(entry, (list, tuple)) for entry in lists)
    return fits and bool(found) and all(isinstance(pipe, BasePipe) for pipe in found)


def _complete_rows(file: BinaryIO, limit: int | None = None) -> tuple[int, int]:
    """Return the number of complete rows (at most `limit`) of a CSV file, header included, and the
    offset of their end.

    A line feed ends a row unless it is inside quotes; neither byte occurs inside a character of
    UTF-8.
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
