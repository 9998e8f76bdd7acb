"""The archives sent to nodes: the project's code, and a job's DEPENDENCIES, each packed once and
identified by a digest.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType

from fission.core.base import BaseJob
from fission.errors import UserError
from fission.ports import Archive, JobArchives
from fission.project.config import LoadedNetwork
from fission.project.shipping import RUN_FOLDERS, dependency_folder, dependency_modules

#: Endings of code files; other files that a job reads must be in its DEPENDENCIES.
CODE = (".py", ".pyi", ".so")
#: The folder of Python's compiled code.
CACHE = "__pycache__"
#: Length of a digest in hexadecimal digits: 128 bits, for which finding a collision is infeasible.
DIGEST_CHARACTERS = 32
#: Folders that contain no code of the project.
LEFT_OUT = frozenset({CACHE, "node_modules", "build", "dist"})


class Archives:
    """The archives of one network, each packed on first use."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        """Args: loaded: the network."""
        self._loaded = loaded
        self._folders: dict[Path, Archive] = {}

    def of_job(self, job: int) -> JobArchives:
        """Return the archives that a job needs on its node.

        Raises UserError: a file cannot be read.
        """
        folder = dependency_folder(self._loaded.network.jobs[job], self._loaded.root)
        if folder is None:
            return JobArchives(self.code)
        if folder not in self._folders:
            self._folders[folder] = pack(_files(folder, folder, everything=True))
        return JobArchives(self.code, self._folders[folder])

    @cached_property
    def code(self) -> Archive:
        """The project's Python files, and DEPENDENCIES that are modules from elsewhere."""
        root = self._loaded.root
        files = dict(_files(root, root, everything=False))
        for job in self._loaded.network.jobs.values():
            files |= dict(_module_files(job, root))
        return pack(files.items())


def pack(files: Iterable[tuple[str, Path]]) -> Archive:
    """Return an archive of (name in the archive, file); equal names and contents give equal
    digests. Raises UserError.
    """
    digest, buffer = hashlib.sha256(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, path in sorted(files):
            try:
                _add(tar, digest, name, path)
            except OSError as why:
                raise UserError(f"{path} cannot be sent to the nodes: {why.strerror or why}") from None
    return Archive(digest.hexdigest()[:DIGEST_CHARACTERS], buffer.getvalue())


def _add(tar: tarfile.TarFile, digest: hashlib._Hash, name: str, path: Path) -> None:
    info = tar.gettarinfo(str(path), name)
    if info.issym():
        _count(digest, name, False, info.linkname)
        tar.addfile(info)
        return
    content = path.read_bytes()
    # the file may have grown since, and a hard link becomes a file of its own
    info.type, info.linkname, info.size = tarfile.REGTYPE, "", len(content)
    runs = bool(info.mode & stat.S_IXUSR)
    info.mode = 0o755 if runs else 0o644
    _count(digest, name, runs, "")
    digest.update(len(content).to_bytes(8, "big") + content)
    tar.addfile(info, io.BytesIO(content))


def _count(digest: hashlib._Hash, name: str, runs: bool, link: str) -> None:
    digest.update(f"{name}\0{runs:d}\0{link}\0".encode("utf-8", "surrogateescape"))


def digest_of(folder: Path) -> str:
    """Return the digest of a folder's unpacked archive, without Python's compiled code.

    Raises OSError.
    """
    digest = hashlib.sha256()
    found: list[tuple[str, Path]] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != CACHE]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [(os.path.relpath(os.path.join(place, name), folder), Path(place, name)) for name in (*names, *links)]
    for name, path in sorted(found):
        if path.is_symlink():
            _count(digest, name, False, os.readlink(path))
            continue
        content = path.read_bytes()
        _count(digest, name, bool(path.stat().st_mode & stat.S_IXUSR), "")
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:DIGEST_CHARACTERS]


def _files(folder: Path, root: Path, *, everything: bool) -> Iterator[tuple[str, Path]]:
    """Yield (name below root, path) of a folder's files: its code, or everything except the results
    of runs.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            name = str(path.relative_to(root))
            if entry.is_dir(follow_symlinks=False):
                if not _left_out(path, everything):
                    yield from _files(path, root, everything=everything)
            elif everything:
                if entry.is_file() or entry.is_symlink():
                    yield name, path
            elif entry.name.endswith(CODE) and entry.is_file():
                yield name, path


def _left_out(folder: Path, everything: bool) -> bool:
    if folder.name in RUN_FOLDERS and (folder.parent / "config.py").is_file():
        return True
    if folder.name == CACHE:
        return True
    return not everything and (folder.name.startswith(".") or folder.name in LEFT_OUT or (folder / "pyvenv.cfg").is_file())


def _module_files(job: BaseJob, root: Path) -> Iterator[tuple[str, Path]]:
    for module in dependency_modules(job):
        path = _source(module)
        if path is None or path.is_relative_to(root):
            continue
        top = module.__name__.replace(".", "/")
        if path.name == "__init__.py":
            for name, file in _files(path.parent, path.parent, everything=False):
                yield f"{top}/{name}", file
        else:
            yield f"{top}{path.suffix}", path


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None
