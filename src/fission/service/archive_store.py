"""A node's files on disk: archives by their digest, and the folders of jobs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
from pathlib import Path

from fission.errors import UserError
from fission.ownership import check, stranger, tree_stranger
from fission.project.archives import CACHE, digest_of

#: Folder of archives, in the node's root.
ARCHIVES = ".archives"
#: Log of a network's jobs, in the network's folder on the node.
LOG_FILE = "fission.log"
SNAPSHOT = re.compile("[0-9]{1,20}[.][0-9]{1,20}", re.ASCII)
#: Suffixes of files, as jobs know them (`fission.runtime.snapshots`).
PART, LOST = ".part", ".lost"
DIGEST = re.compile("[0-9a-f]{8,64}")
#: Advice about a folder that other users can change.
ADVICE = "give the service another one with --root, below folders that are its user's or root's"


class ArchiveStore:
    """Files below one folder.

    Every method may block on the disk, and raises UserError with the disk's error.
    """

    def __init__(self, root: Path) -> None:
        """Use a folder.

        Args:
            root: the node's folder; created if missing.
        """
        self.root = root
        self._verified: dict[str, object] = {}  # by digest: state of an archive's files when their content was verified

    def prepare(self) -> None:
        """Check that the root is writable, and that no other user can change its content."""
        try:
            check(self.root, "REMOTE_ROOT", ADVICE)  # before anything is created in what may be another user's folder
            (self.root / ARCHIVES).mkdir(parents=True, exist_ok=True)
            check(self.root / ARCHIVES, "the folder for code", ADVICE)
            probe = self.root / ARCHIVES / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as why:
            raise UserError(
                f"REMOTE_ROOT {self.root} cannot be written: {why.strerror or why}; "
                "give its service another one with --root, or let its user own the folder"
            ) from None

    def archive(self, digest: str) -> Path:
        """Return the path of an archive's files, present or not."""
        return self.root / ARCHIVES / digest

    def verified(self, digest: str) -> Path:
        """Return the path of an archive's files, ready to run.

        The first call reads their content, and so does each call after a file looks changed.

        Raises:
            UserError: the files are not what was sent.
        """
        folder = self.archive(digest)
        try:
            clause = stranger(folder) or tree_stranger(folder)
            if not clause:
                looks = _looks(folder)
                if self._verified.get(digest) != looks:
                    clause = "" if digest_of(folder) == digest else "their content differs from what the client sent"
                    self._verified[digest] = looks
        except OSError as why:
            clause = f"they cannot be read: {_reason(why)}"
        if clause:
            self._verified.pop(digest, None)
            raise UserError(f"the files in {folder} are not safe to use: {clause}; remove {folder}; the client then sends them again")
        return folder

    def add(self, digest: str, start: int, size: int, piece: bytes) -> bool:
        """Store a piece of an archive; return whether the archive is complete."""
        if not DIGEST.fullmatch(digest):
            raise UserError(f"an archive's digest must be hex digits; it is {digest!r:.100}")
        if self.archive(digest).is_dir():
            return True
        # several services may share a disk; each writes to its own path
        packed = self.root / ARCHIVES / f"{digest}.{os.getpid()}.part"
        try:
            with open(packed, "r+b" if start else "wb") as file:
                file.seek(start)
                file.write(piece)
                file.truncate()
            if start + len(piece) < size:
                return False
            unpacked = packed.with_suffix(".new")
            shutil.rmtree(unpacked, ignore_errors=True)
            with tarfile.open(packed) as tar:
                _extract(tar, unpacked)
            if digest_of(unpacked) != digest:
                raise UserError("an archive has arrived damaged; it is sent again with the next job that needs it")
            try:
                unpacked.rename(self.archive(digest))
            except OSError:
                if not self.archive(digest).is_dir():
                    raise
                shutil.rmtree(unpacked, ignore_errors=True)  # another service was faster
        except (OSError, tarfile.TarError) as why:
            raise UserError(f"{self.root}, where its code and files go, cannot be written: {_reason(why)}") from None
        finally:
            with contextlib.suppress(OSError):
                if start + len(piece) >= size:
                    packed.unlink(missing_ok=True)
                    shutil.rmtree(packed.with_suffix(".new"), ignore_errors=True)
        return True

    def job_folder(self, network: str, job: int, dependencies: str, *, empty: bool) -> Path:
        """Return a job's folder with its DEPENDENCIES in it; ``empty``: empty it first."""
        folder = self.root / network / str(job)
        try:
            if empty:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            check(folder, "the folder of a job", ADVICE)
            if empty and dependencies:
                shutil.copytree(self.verified(dependencies), folder, dirs_exist_ok=True, symlinks=True)
        except (OSError, shutil.Error) as why:
            raise UserError(f"{folder}, the folder of job {job}, cannot be created: {_reason(why)}") from None
        return folder

    def remove(self, network: str, *, archives: bool) -> int:
        """Remove the files of a network; return their size in bytes.

        Args:
            network: name of the network.
            archives: whether to remove the code and DEPENDENCIES of all networks as well; they are
                sent again to a job that needs them.
        """
        if not network.isidentifier():
            raise UserError(f"the name of a network must be a Python name; it is {network!r:.100}")
        if not self.root.is_dir():
            return 0
        check(self.root, "REMOTE_ROOT", ADVICE)
        removed = 0
        for folder in (self.root / network, *([self.root / ARCHIVES] if archives else [])):
            if folder.is_symlink() or not folder.is_dir():
                continue
            size = _size(folder)
            try:
                shutil.rmtree(folder)
            except OSError as why:
                raise UserError(f"{folder} cannot be removed: {_reason(why)}") from None
            removed += size
        self._verified.clear()
        return removed

    def log_file(self, network: str) -> Path:
        """Return the path of the log of a network's jobs on this node."""
        return self.root / network / LOG_FILE

    def log_tail(self, network: str, limit: int) -> bytes:
        """Return at most the last ``limit`` bytes of a network's log; empty without a log."""
        with contextlib.suppress(OSError), open(self.log_file(network), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit)
        return b""


def take_snapshot(folder: Path, name: str, start: int, piece: bytes, state: str) -> None:
    """Store a piece of a snapshot.

    Args:
        folder: snapshot folder of the incarnation that waits for it.
        name: name of its file, ``GENERATION.BLOCK``.
        start: number of bytes received before.
        piece: the next bytes; the reason if the state is "lost".
        state: "more" (more pieces follow), "whole" (the last piece), or "lost".

    Raises:
        UserError: the piece cannot be written, or does not follow the bytes received before.
    """
    if not SNAPSHOT.fullmatch(name):
        raise UserError(f"a snapshot's name must be GENERATION.BLOCK; it is {name!r:.100}")
    part = folder / f"{name}{PART}"
    try:
        if state == "lost":
            part.write_bytes(piece)
            part.rename(folder / f"{name}{LOST}")
            return
        with open(part, "r+b" if start else "wb") as file:
            if file.seek(0, os.SEEK_END) < start:
                raise UserError(f"{part}: a piece of this snapshot is missing")
            file.seek(start)
            file.truncate()
            file.write(piece)
        if state == "whole":
            part.rename(folder / name)
    except OSError as why:
        raise UserError(f"{folder}, the folder for snapshots of {name}, cannot be written on this node: {_reason(why)}") from None


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
    else:  # older Python without filters; the archive comes from the authenticated client
        tar.extractall(folder)


def _size(folder: Path) -> int:
    """Return the size of all files of a folder in bytes."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(place, name)).st_size
    return found


def _looks(folder: Path) -> object:
    """Return the state of all files of a folder, without reading their content."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != CACHE]
        for name in names:
            status = os.lstat(os.path.join(place, name))
            found.append((place, name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode))
    return sorted(found)


def _reason(why: Exception) -> str:
    return str(getattr(why, "strerror", None) or why)
