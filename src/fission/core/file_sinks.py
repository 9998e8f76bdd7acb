"""Jobs on the client that write their input to one file, and continue it exactly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.core.python_job import LocalJob, PythonJob
from fission.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_pipe import BasePipe
    from fission.core.sink_file import SinkFile


class FileSinkJob(LocalJob, PythonJob):
    """Base class of sinks that write one file on the client: it contains every compute block once,
    in order.

    The file continues exactly when the job, the client or the machine fails: a restarted job cuts
    off everything after the last whole compute block, and continues with the next one. A block is
    acknowledged when it is on the device.

    Override `encode`; or override `run`, and call `append` there. A file with a header overrides
    `file_start`, and `file_header` if the header depends on the length.

    Class attributes, for subclasses to override:
        SYNC: True: blocks are acknowledged when they are on the device (fsync, many blocks at a
            time). False: when the operating system has them, which a power cut may lose.

    Args:
        path: path of the file, relative to the job's folder; missing folders are created.
        inputs: as for every job; at least one.
    """

    SYNC: bool = True

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None) -> None:
        super().__init__(inputs=inputs)
        self.path = path
        self._fission_sink_file: SinkFile | None = None

    def encode(self, *values: Any) -> bytes:
        """Return the bytes of one compute block. Called with one argument for each input."""
        raise NotImplementedError(f"{type(self).__name__} must override encode, or run")

    def file_start(self) -> bytes:
        """Return the first bytes of a new file; by default none."""
        return b""

    def file_header(self, size: int) -> bytes:
        """Return new first bytes of the file after each block; by default none.

        Not longer than `file_start`.

        Args:
            size: size of the file in bytes.
        """
        return b""

    def adopt(self, start: bytes, size: int) -> int:
        """Return how many bytes to keep of a file from before this run; by default all.

        Args:
            start: at most the first 64 KiB of the file.
            size: size of the file in bytes.

        Raises:
            DefinitionError: this job cannot continue the file.
        """
        return size

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        path: Any = self.path
        if not isinstance(path, (str, os.PathLike)) or not isinstance(text := os.fspath(path), str) or not text or "\0" in text:
            faults.append(f"path must be the path of a file, but is {path!r}")
        if not self.inputs:
            faults.append("it must have inputs to write, but has none")
        if self.outputs:
            faults.append("it writes a file and must have no outputs; send the blocks to another job too")
        return faults

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Open the file; see the class.

        Raises:
            DefinitionError: the file cannot be written, or is not this job's.
            SinkFileError: the file has less than was acknowledged.
        """
        super().setup(*args, **kwargs)
        try:
            self._fission_open()
        except OSError as why:
            raise DefinitionError(
                f"{self._fission_name}: its file {os.fspath(self.path)!r} cannot be written: {why}; a path is relative to the job's "
                "folder, or absolute"
            ) from None

    def _fission_open(self) -> None:
        from fission import durable
        from fission.core.sink_file import SinkFile

        path = Path(self.path)
        if path.exists() and not path.is_file():
            # what was written must be read again after a failure, which devices and named pipes cannot do
            raise DefinitionError(
                f"{self._fission_name}: path must be a regular file, or free, but {os.fspath(self.path)!r} is {_kind(path)}"
            )
        durable.make_folder(path.absolute().parent)
        file = self._fission_sink_file = SinkFile(path, to_device=self.SYNC)
        if file.size:
            start = file.read(1 << 16, 0)
            if file.known:
                self._fission_continue(start)
            else:
                file.adopt(self.adopt(start, file.size))
        if not file.size:
            start = self.file_start()
            if start:
                file.append_start(start)
        self._fission_update_header()

    def _fission_continue(self, start: bytes) -> None:
        """Take what the next blocks need from the start of a file that an earlier incarnation has written."""

    def run(self, *values: Any) -> None:
        self.append(self.encode(*values))

    def append(self, data: bytes | memoryview) -> None:
        """Append data to the file, as part of the current compute block.

        While the disk is full, it waits: there is a warning, the producers wait too, and nothing is
        lost.
        """
        file = self._fission_sink_file
        if file is None:
            raise DefinitionError(f"{self._fission_name}: its file is not open; setup must call super().setup(*args, **kwargs)")
        if data:
            file.append(data)
            self._fission_update_header()

    def _fission_update_header(self) -> None:
        file = self._fission_sink_file
        if file is not None and not file.surplus and (header := self.file_header(file.size)):
            file.overwrite(header)


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.is_fifo():
        return "a named pipe"
    return "a socket" if path.is_socket() else "a device"


class BytesSinkJob(FileSinkJob):
    """Writes the content of bytes, bytearrays, arrays and other buffers to a file, one block after
    the other.

    Several inputs are written in order. Text is refused: encode it, or use a `CSVSinkJob`.
    """

    def encode(self, *values: Any) -> bytes:
        from fission.core.buffers import bytes_of

        pieces = []
        for value, pipe in zip(values, self.inputs, strict=True):
            for block in value if pipe.BLOCK_COUNT > 1 else (value,):
                pieces.append(bytes_of(self._fission_name, block))
        return b"".join(pieces)


class NpySinkJob(FileSinkJob):
    """Writes arrays to a .npy file, which `numpy.load` can read at any time.

    Each block is one item along the first axis: blocks of shape (3, 4) give a file of shape (number
    of blocks, 3, 4). With ``concatenate`` the blocks are joined along their first axis, whose
    length may differ. The first block determines the dtype.

    Args:
        path: path of the file, relative to the job's folder.
        inputs: one pipe.
        concatenate: whether to join blocks along their first axis.
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Sequence[BasePipe] | None = None, concatenate: bool = False) -> None:
        super().__init__(path, inputs=inputs)
        self.concatenate = concatenate
        self._fission_layout: Any = None

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if len(self.inputs) > 1:
            faults.append(f"it must have one input, whose arrays it writes, but has {len(self.inputs)}")
        return faults

    def _fission_open(self) -> None:
        from fission.core.npy_layout import NpyLayout

        super()._fission_open()
        file = self._fission_sink_file
        if file is not None and file.size:
            self._fission_layout = NpyLayout.read(self._fission_name, os.fspath(self.path), file.read(1 << 16, 0))
            self._fission_update_header()  # a last block that was not recorded is cut off

    def adopt(self, start: bytes, size: int) -> int:
        from fission.core.npy_layout import NpyLayout

        layout = NpyLayout.read(self._fission_name, os.fspath(self.path), start)
        return min(size, layout.size_of(layout.length_in(start)))

    def file_header(self, size: int) -> bytes:
        return b"" if self._fission_layout is None else self._fission_layout.header(size)

    def encode(self, *values: Any) -> bytes:
        from fission.core.npy_layout import NpyLayout

        blocks = values[0] if self.inputs[0].BLOCK_COUNT > 1 else values
        if self._fission_layout is None:
            self._fission_layout = NpyLayout.of(self._fission_name, blocks[0], concatenate=self.concatenate)
            if self._fission_sink_file is not None:
                self._fission_sink_file.append_start(self._fission_layout.header(0))
        return b"".join(self._fission_layout.encode(self._fission_name, block, concatenate=self.concatenate) for block in blocks)
