"""What the client keeps for its jobs, so that a new life of theirs, wherever it runs, can have it: snapshots, and stored values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fission.ports import CheckpointStore
from fission.protocol.frames import Word


class Keeper:
    """Does what jobs say about their snapshots and values; answers when it is safe."""

    def __init__(self, store: CheckpointStore, command: Callable[[int, dict[str, Any]], None]) -> None:
        """Args: store: where everything goes. command: tells the newest life of a job something."""
        self._store = store
        self._command = command
        self._acts = {"store": self._snapshot, "stable": self._stable, "keep": self._value}

    def hears(self, what: str) -> bool:
        """Whether a word that says ``what`` is for this one."""
        return what in self._acts

    def take(self, word: Word) -> None:
        """Do what a word of a job's newest life says. Blocks while it writes."""
        self._acts[word.body["say"]](word)

    def kept(self, job: int) -> tuple[tuple[Any, ...], Mapping[int, bytes]]:
        """Return (snapshots, stored value by pipe) for a new life of a job. Blocks while it reads."""
        return tuple(self._store.load(job)), self._store.kept(job)

    def _snapshot(self, word: Word) -> None:
        body = word.body
        self._store.put(word.job, body["generation"], body["block"], word.payload)
        self._command(word.job, {"do": "stored", "generation": body["generation"], "block": body["block"]})

    def _stable(self, word: Word) -> None:
        self._store.prune(word.job, word.body["generation"], word.body["block"])

    def _value(self, word: Word) -> None:
        self._store.keep(word.job, word.body["pipe"], word.payload)
        self._command(word.job, {"do": "kept", "pipe": word.body["pipe"], "number": word.body["number"]})
