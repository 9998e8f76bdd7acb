"""The snapshot for a new incarnation: from the client's file, or brought to its node."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fission.adapters.file_checkpoints import FileCheckpoints
from fission.errors import SnapshotError, UserError, ValueFitError
from fission.ports import JobId
from fission.protocol.checkpointing import Checkpointing, CheckpointSpec
from fission.protocol.endpoint_effects import TellClient
from fission.protocol.messages.job_to_client import JobToClient, SaveSnapshot, SnapshotNeeded
from fission.runtime import checkpointer, snapshots
from fission.runtime.snapshots import reader
from fission.service.archive_store import take_snapshot


def bundle(folder: Path, *, far: bool) -> Any:
    return SimpleNamespace(snapshot_folder=str(folder), snapshots_far=far)


def test_on_the_clients_machine_the_clients_file_is_read(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path)
    store.put(JobId(3), 0, 10, b"ten" * 100_000)
    said: list[Any] = []
    read = reader(bundle(Path(store.folder(JobId(3))), far=False), lambda *word: said.append(word))
    assert read(0, 10) == b"ten" * 100_000
    assert said == []
    path = tmp_path / "3" / "0.10"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    for generation, block in ((0, 10), (0, 11)):
        with pytest.raises(SnapshotError, match=f"{generation}.{block}"):
            read(generation, block)


def carry(folder: Path, pieces: list[bytes], state: str = "whole") -> None:
    start = 0
    for piece in pieces[:-1]:
        take_snapshot(folder, "0.10", start, piece, "more")
        start += len(piece)
    take_snapshot(folder, "0.10", start, pieces[-1], state)


def test_on_another_machine_it_is_asked_for_and_waited_for(tmp_path: Path) -> None:
    said: list[Any] = []

    def say(message: JobToClient, payload: bytes) -> None:
        said.append(message)
        threading.Thread(target=carry, args=(tmp_path, [b"a" * 1000, b"b" * 1000, b"c"])).start()

    assert reader(bundle(tmp_path, far=True), say)(0, 10) == b"a" * 1000 + b"b" * 1000 + b"c"
    assert said == [SnapshotNeeded(generation=0, block=10)]
    assert list(tmp_path.iterdir()) == []  # a node's disk is given back


def test_it_is_requested_again_without_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "AGAIN_S", 0.05)
    said: list[Any] = []

    def say(message: JobToClient, payload: bytes) -> None:
        said.append(message)
        if len(said) == 3:  # the connection broke meanwhile: it starts again
            carry(tmp_path, [b"old", b"er"])

    take_snapshot(tmp_path, "0.10", 0, b"half of it", "more")
    assert reader(bundle(tmp_path, far=True), say)(0, 10) == b"older"
    assert said == [SnapshotNeeded(generation=0, block=10)] * 3


def test_snapshots_that_will_not_come_are_reported(tmp_path: Path) -> None:
    say = lambda *word: carry(tmp_path, [b"abc", b"/run/3/0.10 is damaged: its checksum is wrong"], "lost")  # noqa: E731
    with pytest.raises(SnapshotError, match="its checksum is wrong"):
        reader(bundle(tmp_path, far=True), say)(0, 10)


@pytest.mark.parametrize("name", ["../0.10", "0", "0.10.part", "a.b", "0." + "1" * 40, "0.1/2", "0.10\n"])
def test_a_piece_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"must be GENERATION\.BLOCK"):
        take_snapshot(tmp_path, name, 0, b"x", "whole")
    assert list(tmp_path.iterdir()) == []


def test_a_piece_that_follows_on_nothing_is_refused(tmp_path: Path) -> None:
    take_snapshot(tmp_path, "0.10", 0, b"abc", "more")
    with pytest.raises(UserError, match="a piece of this snapshot is missing"):
        take_snapshot(tmp_path, "0.10", 4, b"x", "whole")


def test_a_snapshot_that_is_too_large_is_refused_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "MOST_BYTES", 1000)
    job = SimpleNamespace(_fission_name="Big 3", MAX_QUEUE=0, snapshot=lambda: bytes(2000))
    decisions = Checkpointing(CheckpointSpec("Big 3", 1, 100))
    one = checkpointer.Checkpointer(job, decisions, lambda generation, block: b"")
    one.begin(0, 1)
    decisions.on_stored(0, 0)
    with pytest.raises(ValueFitError, match=r"Big 3: what snapshot gave has 20\d\d bytes; a snapshot must have at most 1000"):
        one.after(1)
    assert decisions.effects == [TellClient(SaveSnapshot(generation=0, block=0), b"")]
