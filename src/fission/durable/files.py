"""Atomic writes and synced appends. Each operation calls `interpose`d hooks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

#: Prefix of the names of unfinished files. A crash may leave one; `remove_unfinished` removes them.
UNFINISHED = ".new-"

#: Called with an operation (open, read, write, fsync, rename, mkdir, unlink, truncate, link) and the path before it happens. It may
#: raise OSError; for a write it may return the largest number of bytes that the device accepts this time.
Hook = Callable[[str, Path], "int | None"]

_hooks: list[Hook] = []
_fdatasync = getattr(os, "fdatasync", os.fsync)  # not on every system


class DamagedFileError(Exception):
    """The content of a file is not what was written.

    Attributes:
        path: path of the file.
        what: the damage, as a clause: "its checksum is wrong".
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged: {what}")
        self.path = path
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.what)


@contextlib.contextmanager
def interpose(hook: Hook) -> Iterator[None]:
    """Call *hook* before each file operation of this process in the with-block, in every thread.

    Args:
        hook: see `Hook`; the operation raises its exceptions.
    """
    _hooks.append(hook)
    try:
        yield
    finally:
        _hooks.remove(hook)


def about_to(operation: str, path: Path) -> int | None:
    """Call the hooks (see `interpose`) before an operation; return the limit in bytes of a write,
    None for no limit.
    """
    limits = [limit for hook in _hooks if (limit := hook(operation, path)) is not None] if _hooks else []
    return min(limits, default=None)


def open_file(path: Path, flags: int, mode: int = 0o666) -> int:
    """Return a descriptor, like `os.open`."""
    about_to("open", path)
    return os.open(path, flags, mode)


def write_all(descriptor: int, content: bytes | memoryview, path: Path) -> None:
    """Write all of *content* at the descriptor's position; after an OSError, a part of it may be
    written.

    Args:
        descriptor: of the file.
        content: the bytes.
        path: path of the file, for hooks.
    """
    rest = memoryview(content).cast("B")
    with _naming(path):
        while rest:
            limit = about_to("write", path)
            rest = rest[os.write(descriptor, rest if limit is None else rest[:limit]) :]


def sync(descriptor: int, path: Path) -> None:
    """Wait until the device has the file's content.

    After an OSError, writes since the last success may be lost.
    """
    with _naming(path):
        about_to("fsync", path)
        os.fsync(descriptor)


def sync_data(descriptor: int, path: Path) -> None:
    """Wait until the device has the file's content, but not its times.

    Where nothing else has changed, no journal is written: faster than `sync` after an overwrite of
    blocks that the file already has on the device.

    After an OSError, writes since the last success may be lost, though a later call succeeds.
    """
    with _naming(path):
        about_to("fsync", path)
        _fdatasync(descriptor)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the path to an OSError that lacks it because only a descriptor was known."""
    try:
        yield
    except OSError as why:
        if why.filename is None:
            why.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the device has the names in *folder*, on file systems that support this."""
    descriptor = open_file(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor, folder)
    except OSError as why:
        if why.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Create *folder* and missing parents so that they survive a power cut; leaves an existing
    folder unchanged.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    about_to("mkdir", folder)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Wait until the device has the file's content."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until the device has *folder* and all files below it; of links and special files only
    the names.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                sync_file(path)
        sync_folder(Path(place))
    sync_folder(folder.parent)


def link(path: Path, target: str) -> None:
    """Create or replace the symbolic link *path* to *target*, atomically and durably."""
    fresh = path.parent / f"{UNFINISHED}{os.urandom(8).hex()}"
    about_to("link", path)
    os.symlink(target, fresh)
    try:
        rename(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def rename(source: Path, target: Path) -> None:
    """Move *source* to *target*, atomically and durably; the content of *source* must be synced."""
    about_to("rename", target)
    os.replace(source, target)
    sync_folder(target.parent)


def move(source: Path, target: Path) -> None:
    """Move *source* to *target*, atomically; a power cut within the next seconds may undo it."""
    about_to("rename", target)
    os.replace(source, target)


def unlink(path: Path) -> None:
    """Remove a file, if it exists. (It may exist again after a power cut.)"""
    about_to("unlink", path)
    path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the remains of interrupted writes in *folder*, where no other process may write."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in list(folder.iterdir()):
            if path.name.startswith(UNFINISHED):
                with contextlib.suppress(OSError):
                    path.unlink()


class WholeFile:
    """A file that appears under its name when it is complete.

    Use it in a with-block; call `write`, then `commit`.

    Without `commit` the file of that name stays as it was.
    """

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        """Start to write beside *path*.

        Args:
            path: path of the file; its folder exists.
            mode: permissions of the file, less the umask.
        """
        self._path = path
        self._fresh: Path | None = path.parent / f"{UNFINISHED}{os.urandom(8).hex()}"
        self._descriptor = open_file(self._fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.abandon()

    def write(self, content: bytes | memoryview) -> None:
        """Append *content*."""
        write_all(self._descriptor, content, self._path)

    def commit(self) -> None:
        """Move the file to its name; it is on the device when this returns."""
        assert self._fresh is not None, "neither committed nor abandoned"
        sync(self._descriptor, self._path)
        rename(self._fresh, self._path)
        self._fresh = None

    def abandon(self) -> None:
        """Remove everything written, unless it is committed. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._fresh is not None:
            with contextlib.suppress(OSError):
                self._fresh.unlink()
            self._fresh = None


def write_whole(path: Path, content: bytes | Iterable[bytes | memoryview], mode: int = 0o666) -> None:
    """Create or replace a file with *content*, on the device; after an error the file is as before.

    Args:
        path: path of the file; its folder exists.
        content: all of it, or its pieces.
        mode: permissions of the file, less the umask.

    Raises:
        OSError: it cannot be written.
    """
    with WholeFile(path, mode) as file:
        for piece in (content,) if isinstance(content, bytes) else content:
            file.write(piece)
        file.commit()


def read_whole(path: Path) -> bytes:
    """Return the content of a file."""
    about_to("open", path)
    with path.open("rb") as file:
        about_to("read", path)
        return file.read()


class Appender:
    """Appends to a file. Data that could not be written stays in memory, and a later `flush` writes
    it.

    One writer at a time. A failed write is undone, so that the file has no partial entry in its
    middle.
    """

    def __init__(self, path: Path, keep_bytes: int | None = None, mode: int = 0o666) -> None:
        """Open or create the file.

        Args:
            path: path of the file; its folder exists.
            keep_bytes: the rest of the file is a torn end, and is cut off; None keeps everything.
            mode: permissions of a new file, less the umask.
        """
        self._path = path
        new = not path.exists()
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            size = os.fstat(self._descriptor).st_size
            self._synced_bytes = size if keep_bytes is None else min(keep_bytes, size)
            if self._synced_bytes < size:
                self._cut()
                sync(self._descriptor, path)
            if new:
                sync_folder(path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._pending: list[bytes] = []  # since the last sync; the first _written_bytes of them are in the file
        self._written_bytes = 0

    def add(self, content: bytes) -> None:
        """Add data for the next `flush`."""
        if content:
            self._pending.append(content)

    def flush(self, *, to_device: bool = True) -> None:
        """Write the added data; after an OSError, the next call tries all of it again.

        Args:
            to_device: whether to wait for the device; False leaves the time to the kernel.
        """
        waiting = b"".join(self._pending)
        if not waiting:
            return
        try:
            os.lseek(self._descriptor, self._synced_bytes + self._written_bytes, os.SEEK_SET)
            write_all(self._descriptor, memoryview(waiting)[self._written_bytes :], self._path)
            self._written_bytes = len(waiting)
            if to_device:
                sync(self._descriptor, self._path)
        except OSError:
            self._written_bytes = 0  # after a failed sync the kernel may have dropped data that the device lacks
            with contextlib.suppress(OSError):
                self._cut()
            raise
        if to_device:
            self._synced_bytes += len(waiting)
            self._pending.clear()
            self._written_bytes = 0

    def close(self) -> None:
        """Close the file without writing anything. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _cut(self) -> None:
        about_to("truncate", self._path)
        os.ftruncate(self._descriptor, self._synced_bytes)
