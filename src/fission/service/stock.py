"""What a node keeps on its disk: archives by their digest, and the folders of jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from pathlib import Path

from fission.errors import UserError

#: Folder of archives below the node's root.
ARCHIVES = ".archives"
#: What is logged by the jobs of a network, in the network's folder on the node.
LOG_FILE = "fission.log"


class Stock:
    """Files below one folder. Every method may block on the disk, and raises UserError with what the disk said."""

    def __init__(self, root: Path) -> None:
        """Args: root: the node's folder; made if it is not there."""
        self.root = root

    def prepare(self) -> None:
        """Make sure that the root can be written."""
        try:
            (self.root / ARCHIVES).mkdir(parents=True, exist_ok=True)
            probe = self.root / ARCHIVES / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as why:
            raise UserError(
                f"REMOTE_ROOT {self.root} cannot be written on this node: {why.strerror or why}; "
                "give its service another one with --root, or let its user own the folder"
            ) from None

    def archive(self, digest: str) -> Path:
        """Where an archive's files are, if they are."""
        return self.root / ARCHIVES / digest

    def add(self, digest: str, start: int, size: int, piece: bytes) -> bool:
        """Take a piece of an archive; return whether all of it is there now."""
        if self.archive(digest).is_dir():
            return True
        # several services may share a disk, each has its own way there
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
            try:
                unpacked.rename(self.archive(digest))
            except OSError:
                if not self.archive(digest).is_dir():
                    raise
                shutil.rmtree(unpacked, ignore_errors=True)  # another service was quicker
        except (OSError, tarfile.TarError) as why:
            raise UserError(f"{self.root}, where its code and files go, cannot be written on this node: {_reason(why)}") from None
        finally:
            with contextlib.suppress(OSError):
                if start + len(piece) >= size:
                    packed.unlink(missing_ok=True)
        return True

    def job_folder(self, network: str, job: int, dependencies: str, *, anew: bool) -> Path:
        """Return a job's folder with its DEPENDENCIES in it; ``anew``: it is emptied before."""
        folder = self.root / network / str(job)
        try:
            if anew:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            if anew and dependencies:
                shutil.copytree(self.archive(dependencies), folder, dirs_exist_ok=True, symlinks=True)
        except (OSError, shutil.Error) as why:
            raise UserError(f"{folder}, where job {job} is to work, cannot be made on this node: {_reason(why)}") from None
        return folder

    def log_file(self, network: str) -> Path:
        """The log of a network's jobs on this node."""
        return self.root / network / LOG_FILE

    def log_tail(self, network: str, limit: int) -> bytes:
        """Return at most the last ``limit`` bytes of a network's log; empty if there is none."""
        with contextlib.suppress(OSError), open(self.log_file(network), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return file.read(limit)
        return b""


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
    else:  # a Python without filters; the archive comes from the authenticated client
        tar.extractall(folder)


def _reason(why: Exception) -> str:
    return str(getattr(why, "strerror", None) or why)
