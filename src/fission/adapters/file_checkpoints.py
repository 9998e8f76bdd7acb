"""Snapshots as files: one file a snapshot, written beside its place and moved there, so that a file is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from fission.ports import JobId


class FileCheckpoints:
    """`fission.ports.CheckpointStore` in a folder, with a folder for each job and a file ``GENERATION.BLOCK`` for each snapshot."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: is made on the first `put`."""
        self._folder = folder

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        place = self._folder / str(job)
        place.mkdir(parents=True, exist_ok=True)
        fresh = place / "new"
        with open(fresh, "wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, place / f"{generation}.{block}")

    def prune(self, job: JobId, generation: int, block: int) -> None:
        for number in self._numbers(job):
            if number < (generation, block):
                (self._folder / str(job) / f"{number[0]}.{number[1]}").unlink(missing_ok=True)

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        place = self._folder / str(job)
        return [(generation, block, (place / f"{generation}.{block}").read_bytes()) for generation, block in self._numbers(job)]

    def _numbers(self, job: JobId) -> list[tuple[int, int]]:
        try:
            names = [path.name for path in (self._folder / str(job)).iterdir() if path.name != "new"]
        except FileNotFoundError:
            return []
        return sorted((int(name.partition(".")[0]), int(name.partition(".")[2])) for name in names)
