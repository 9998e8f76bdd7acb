"""The file passed to a pipe's `read` and `write`: one block, in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any


class BlockFile(BytesIO):
    """A block as a binary file.

    For pipes written for named pipes it has `peek`, and on request a descriptor.

    The same object serves one block after the other (`fill`, `take`), for pipes that keep the file
    or a reader of it. From the first `fileno` on its bytes are in the kernel, so that reads and
    writes of the descriptor and of the file can be mixed.
    """

    def fileno(self) -> int:
        """Return a descriptor that shares the file's position, open as long as the file is."""
        descriptor = os.memfd_create("fission-block", os.MFD_CLOEXEC)
        position, data = self.tell(), self.getvalue()
        self.__class__ = _DescribedFile  # files without a descriptor keep the speed of BytesIO
        self._descriptor = descriptor
        self.write(data)
        self.seek(position)
        return descriptor

    def peek(self, size: int = 0) -> bytes:
        """Return the bytes that follow without advancing; `size` is ignored, as `io.BufferedReader`
        may do.
        """
        position = self.tell()
        data = self.read()
        self.seek(position)
        return data

    def fill(self, data: Any) -> None:
        """Make `data` (bytes-like) the whole content, and rewind.

        Raises:
            BufferError: a view of the previous block (`getbuffer`) is still in use.
        """
        BytesIO.__init__(self, data)

    def take(self) -> bytes:
        """Return the whole content and empty the file."""
        data = self.getvalue()
        BytesIO.__init__(self)
        return data


class _DescribedFile(BlockFile):
    """A `BlockFile` after its descriptor was requested."""

    _descriptor: int

    def fileno(self) -> int:
        return self._descriptor

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self._descriptor).st_size - self.tell())
        return os.read(self._descriptor, size)

    read1 = read

    def readinto(self, buffer: Any, /) -> int:
        return os.readv(self._descriptor, [buffer])

    readinto1 = readinto

    def readline(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        line = self.read(size)
        end = line.find(b"\n") + 1 or len(line)
        self.seek(start + end)
        return line[:end]

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view):  # the kernel takes at most 2 GiB at once
            written += os.write(self._descriptor, view[written:])
        return written

    def writelines(self, lines: Iterable[Any], /) -> None:
        for line in lines:
            self.write(line)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def truncate(self, size: int | None = None, /) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._descriptor, size)
        return size

    def getvalue(self) -> bytes:
        size = os.fstat(self._descriptor).st_size
        pieces, have = [], 0
        while have < size and (piece := os.pread(self._descriptor, size - have, have)):
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def getbuffer(self) -> memoryview:
        return memoryview(self.getvalue())

    def fill(self, data: Any) -> None:
        self.seek(0)
        self.truncate()
        self.write(data)
        self.seek(0)

    def take(self) -> bytes:
        data = self.getvalue()
        self.seek(0)
        self.truncate()
        return data

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def __del__(self) -> None:
        self.close()
