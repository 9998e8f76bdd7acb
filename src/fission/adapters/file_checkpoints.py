"""Snapshots and kept values as files: one file each, written beside its place and moved there, so that a file is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from fission.ports import JobId, PipeId

#: How the files of kept values begin.
KEPT = "kept-"
#: What is being written.
FRESH = "new"


class FileCheckpoints:
    """`fission.ports.CheckpointStore` in a folder.

    Each job has a folder there, with a file ``GENERATION.BLOCK`` for each snapshot and ``kept-PIPE`` for each value that is kept.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: is made when something is put into it."""
        self._folder = folder

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        self._write(job, f"{generation}.{block}", state)

    def prune(self, job: JobId, generation: int, block: int) -> None:
        for number in self._numbers(job):
            if number < (generation, block):
                (self._folder / str(job) / f"{number[0]}.{number[1]}").unlink(missing_ok=True)

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        place = self._folder / str(job)
        return [(generation, block, (place / f"{generation}.{block}").read_bytes()) for generation, block in self._numbers(job)]

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        self._write(job, f"{KEPT}{pipe}", group)

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        names = [name for name in self._names(job) if name.startswith(KEPT)]
        return {PipeId(int(name[len(KEPT) :])): (self._folder / str(job) / name).read_bytes() for name in names}

    def _write(self, job: JobId, name: str, content: bytes) -> None:
        place = self._folder / str(job)
        place.mkdir(parents=True, exist_ok=True)
        with open(place / FRESH, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(place / FRESH, place / name)

    def _names(self, job: JobId) -> list[str]:
        try:
            return [path.name for path in (self._folder / str(job)).iterdir() if path.name != FRESH]
        except FileNotFoundError:
            return []

    def _numbers(self, job: JobId) -> list[tuple[int, int]]:
        names = [name for name in self._names(job) if not name.startswith(KEPT)]
        return sorted((int(name.partition(".")[0]), int(name.partition(".")[2])) for name in names)
