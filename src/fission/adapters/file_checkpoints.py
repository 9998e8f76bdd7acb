"""Snapshots and retained values as files: each is one checksummed record, complete or absent."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from fission import durable
from fission.ports import JobId, PipeId

log = logging.getLogger("fission.client")

#: Names of snapshots and retained values; files with other names do not belong to the store.
_SNAPSHOT = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_KEPT = re.compile(r"kept-(\d+)", re.ASCII)


class FileCheckpoints:
    """`fission.ports.CheckpointStore` in a folder.

    Each job has its own folder, with a file ``GENERATION.BLOCK`` for each snapshot and
    ``kept-PIPE`` for each retained value. Each file is one record of `fission.durable`. Other files
    are ignored.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folder.

        Args:
            folder: folder of the store; the first write creates it.
        """
        self._folder = folder

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        self._write(job, f"{generation}.{block}", state)

    def prune(self, job: JobId, generation: int, block: int) -> None:
        for number in self._numbers(job):
            if number < (generation, block):
                durable.unlink(self._path(job, *number))

    def numbers(self, job: JobId) -> list[tuple[int, int]]:
        return self._numbers(job)

    def folder(self, job: JobId) -> str:
        return str(self._folder / str(job))

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        found = []
        for generation, block in self._numbers(job):
            try:
                found.append((generation, block, durable.read_record(self._path(job, generation, block))))
            except (durable.DamagedFileError, OSError) as why:
                log.warning("a snapshot cannot be used: %s", why)
        return found

    def pieces(self, job: JobId, generation: int, block: int) -> Iterator[bytes]:
        return durable.record_pieces(self._path(job, generation, block))

    def damaged(self, job: JobId) -> dict[tuple[int, int], str]:
        found = {}
        for generation, block in self._numbers(job):
            try:
                for _ in self.pieces(job, generation, block):
                    pass
            except durable.DamagedFileError as why:
                found[generation, block] = str(why)
            except OSError as why:
                found[generation, block] = f"{self._path(job, generation, block)} cannot be read: {why.strerror or why}"
        return found

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        self._write(job, f"kept-{pipe}", group)

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        matches = filter(None, map(_KEPT.fullmatch, self._names(job)))
        return {PipeId(int(match[1])): durable.read_record(self._folder / str(job) / match[0]) for match in matches}

    def _path(self, job: JobId, generation: int, block: int) -> Path:
        return self._folder / str(job) / f"{generation}.{block}"

    def _write(self, job: JobId, name: str, content: bytes) -> None:
        place = self._folder / str(job)
        if not place.is_dir():
            durable.make_folder(place)
        durable.write_record(place / name, content)

    def _names(self, job: JobId) -> list[str]:
        try:
            return [path.name for path in (self._folder / str(job)).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _numbers(self, job: JobId) -> list[tuple[int, int]]:
        matches = filter(None, map(_SNAPSHOT.fullmatch, self._names(job)))
        return sorted((int(match[1]), int(match[2])) for match in matches)
