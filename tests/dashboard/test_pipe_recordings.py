"""Recordings that the page starts: where they are, how they end, and that each file is complete and exact."""

from __future__ import annotations

import errno
import fcntl
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.dashboard import pipe_recordings
from fission.dashboard.pipe_recordings import LEAST_FREE, MOST_RECORDINGS, PipeRecordings
from fission.errors import UserError
from fission.protocol.tapped import Seen
from fission.recordings import Recorder, read_recording
from fission.recordings.writer import PipeFacts
from tests.waiting import DEADLINE_S, eventually

NOON = 1_700_000_000.0
END = object()
KILLED = object()


class Network:
    """In place of the network: what passes on its pipes, and the run's log."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.pipes: dict[int, queue.Queue[Any]] = {}
        self.missed: dict[int, int] = {}
        self.open = 0

    def pass_on(self, pipe: int, *payloads: bytes, sqn: int = 1) -> None:
        self.pipes[pipe].put(Seen(NOON, 0, sqn, len(payloads), list(payloads), [0] * len(payloads)))


class Watched:
    """In place of the tap of a pipe."""

    def __init__(self, network: Network, pipes: list[int]) -> None:
        self._network, (self._pipe,) = network, pipes
        network.pipes[self._pipe] = queue.Queue()
        network.open += 1
        self.followers = {self._pipe: self}
        self.cut: tuple[int, ...] = ()

    @property
    def missed(self) -> int:
        return self._network.missed.get(self._pipe, 0)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *rest: object) -> None:
        self._network.open -= 1

    def moments(self, deadline: float | None, every: float) -> Iterator[Seen | None]:
        while True:
            try:
                found = self._network.pipes[self._pipe].get(timeout=0.01)
            except queue.Empty:
                yield None
                continue
            if found in (END, KILLED):
                self.cut = () if found is END else (self._pipe,)
                return
            yield found


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()

    def described(folder: Path, pipe: int) -> tuple[PipeFacts, str]:
        if pipe == 999:
            raise UserError("there is no pipe 999 in net; there are: 1, 2")
        return PipeFacts(pipe, "fission.core.pipes.BytesPipe", 3, 1), "net"

    monkeypatch.setattr(pipe_recordings, "_described", described)
    monkeypatch.setattr(pipe_recordings, "_note", lambda folder, by, action: found.log.append(f"{by} {action}"))
    monkeypatch.setattr(pipe_recordings, "WatchedPipes", lambda folder, pipes, **rest: Watched(found, pipes))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    return tmp_path / "net"


@pytest.fixture
def recordings(net: Network, folder: Path) -> Iterator[PipeRecordings]:
    found = PipeRecordings(folder, wall_clock=lambda: NOON)
    yield found
    found.close()
    assert net.open == 0


def read(state: Any) -> tuple[list[bytes], str]:
    """Return the payloads of a recording, and why it is incomplete."""
    found = read_recording(state.file)
    return [bytes(block.payload) for block in found], found.problem


def ended(recordings: PipeRecordings, pipe: int = 1) -> str:
    """Return why a recording has ended, once it has."""
    eventually(lambda: not recordings.states()[str(pipe)]["running"], DEADLINE_S, "the end of the recording")
    return str(recordings.states()[str(pipe)]["reason"])


def test_a_recording_has_each_block_and_says_where_it_is(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    state = recordings.start(1, "anna")
    assert Path(state.file).parent == folder / "recordings"
    net.pass_on(1, b"one", b"two")
    net.pass_on(1, b"six", sqn=6)
    net.missed[1] = 3
    eventually(lambda: recordings.states()["1"]["blocks"] == 3, DEADLINE_S, "three blocks")
    eventually(lambda: recordings.states()["1"]["bytes"] == Path(state.file).stat().st_size, DEADLINE_S, "all bytes in the file")
    stopped = recordings.stop(1, "bert")
    assert read(stopped) == ([b"one", b"two", b"six"], "")
    recording = read_recording(stopped.file)
    assert [(block.pipe, block.sqn, block.value) for block in recording] == [(1, 1, b"one"), (1, 2, b"two"), (1, 6, b"six")]
    assert (stopped.blocks, stopped.missed, recording.missed, stopped.reason) == (3, 3, {1: 3}, "stopped by bert")
    assert stopped.bytes == Path(stopped.file).stat().st_size
    assert net.log[0] == f"anna records pipe 1 into {state.file}"
    eventually(lambda: len(net.log) == 2, DEADLINE_S, "the log has the end")
    assert net.log[1] == f"anna no longer records pipe 1 (stopped by bert): 3 blocks, 3 were missed, in {state.file}"


def test_the_second_start_of_a_pipe_is_refused_in_one_line(net: Network, recordings: PipeRecordings) -> None:
    state = recordings.start(1, "anna")
    with pytest.raises(UserError) as refusal:
        recordings.start(1, "bert")
    assert str(refusal.value) == f"pipe 1 is being recorded already, by anna into {state.file}; stop that first"
    recordings.start(2, "bert")
    recordings.stop(1, "anna")
    again = recordings.start(1, "bert")
    assert again.file != state.file, "no recording replaces another one, also in the same second"


def test_of_two_starts_at_the_same_time_one_is_refused(net: Network, recordings: PipeRecordings) -> None:
    assert refusals(recordings) == 7
    assert len(list((recordings._folder / "recordings").iterdir())) == 1


def refusals(recordings: PipeRecordings) -> int:
    """Return how many of eight simultaneous starts are refused."""
    refused: list[UserError] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        try:
            recordings.start(1, "anna")
        except UserError as why:
            refused.append(why)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(refused)


def test_two_servers_do_not_record_the_same_pipe(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    """Each has a process of its own; the lock of a file is not shared within one process either."""
    other = PipeRecordings(folder, wall_clock=lambda: NOON)
    state = recordings.start(1, "anna")
    with pytest.raises(UserError) as refusal:
        other.start(1, "bert")
    assert str(refusal.value) == f"pipe 1 is being recorded already, by another server of this page into {state.file}; stop it there"
    assert other.states() == {}
    assert other.start(2, "bert").running
    recordings.stop(1, "anna")
    assert other.start(1, "bert").file != state.file
    other.close()


def test_a_killed_server_leaves_no_lock(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    (folder / "recordings").mkdir()
    other = folder / "recordings" / "pipe-1-20260101-120000.rec"
    code = (
        "import sys\nfrom pathlib import Path\nfrom fission.dashboard.recording_lock import hold\n"
        "hold(Path(sys.argv[1]))\nprint('held', flush=True)\ninput()"
    )
    other.touch()
    with subprocess.Popen([sys.executable, "-c", code, str(other)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="by another server of this page"):
            recordings.start(1, "anna")
        server.kill()
    assert recordings.start(1, "anna").running
    recordings.stop(1, "anna")
    assert list(folder.glob(".pipe*")) == [], "neither its own lock nor that of the killed one is left"


def test_a_lock_on_a_finished_recording_does_not_prevent_the_next(folder: Path, recordings: PipeRecordings) -> None:
    state = recordings.start(1, "anna")
    (lock,) = folder.glob(".pipe*")
    assert lock.stat().st_mode & 0o077 == 0
    recordings.stop(1, "anna")
    with open(state.file, "rb") as readable:
        fcntl.flock(readable, fcntl.LOCK_EX)
        assert recordings.start(1, "anna").running


def test_a_folder_that_vanishes_ends_it(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    recordings.start(1, "anna")
    net.pass_on(1, b"one")
    eventually(lambda: recordings.states()["1"]["bytes"] > 0, DEADLINE_S, "a start of the file")
    shutil.rmtree(folder / "recordings")
    assert ended(recordings) == "its file was removed, or the folder of recordings"
    assert recordings.start(1, "anna").running


def test_a_fault_ends_it_with_a_complete_file(net: Network, recordings: PipeRecordings, monkeypatch: pytest.MonkeyPatch) -> None:
    state = recordings.start(1, "anna")
    net.pass_on(1, b"one")
    eventually(lambda: recordings.states()["1"]["blocks"] == 1, DEADLINE_S, "a block")

    def broken(*rest: Any) -> None:
        raise ValueError("no block")

    monkeypatch.setattr(Recorder, "write", broken)
    net.pass_on(1, b"two", sqn=2)
    assert ended(recordings) == "a fault of the page's server: ValueError: no block"
    assert read(state) == ([b"one"], "")


class Forgetful(PipeRecordings):
    """A broken one: it does not look whether the pipe is being recorded."""

    def start(self, pipe: int, by: str) -> Any:
        former, self._known = self._known, {}
        try:
            return super().start(pipe, by)
        finally:
            self._known = {**{1000 + number: one for number, one in former.items()}, **self._known}


def test_one_that_records_a_pipe_twice_is_caught(net: Network, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe_recordings.recording_lock, "held", lambda paths: None)
    recordings = Forgetful(folder, wall_clock=lambda: NOON)
    recordings.start(1, "anna")
    recordings.start(1, "bert")
    recordings.close()
    assert len(list((folder / "recordings").iterdir())) == 2


def test_the_number_of_recordings_is_bounded(net: Network, recordings: PipeRecordings) -> None:
    for pipe in range(MOST_RECORDINGS):
        recordings.start(pipe, "anna")
    with pytest.raises(UserError, match=f"{MOST_RECORDINGS} pipes are being recorded already"):
        recordings.start(100, "anna")


def test_an_unknown_pipe_leaves_no_file(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    with pytest.raises(UserError, match="there is no pipe 999 in net"):
        recordings.start(999, "anna")
    with pytest.raises(UserError, match="pipe 1 is not being recorded"):
        recordings.stop(1, "anna")
    assert recordings.states() == {}
    assert not (folder / "recordings").exists()


# -- how a recording ends -------------------------------------------------------------------------------------------------


def by_the_network(net: Network, recordings: PipeRecordings) -> None:
    net.pipes[1].put(END)


def by_a_kill(net: Network, recordings: PipeRecordings) -> None:
    net.pipes[1].put(KILLED)


def by_the_server(net: Network, recordings: PipeRecordings) -> None:
    eventually(net.pipes[1].empty, DEADLINE_S, "the block was taken")
    recordings.close()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (by_the_network, "the pipe or the network has ended"),
        (by_a_kill, "the pipe or the network has ended, and was killed: last blocks may be missing"),
        (by_the_server, "the page's server has ended"),
    ],
)
def test_its_file_is_complete_however_it_ends(
    net: Network, recordings: PipeRecordings, end: Callable[[Network, PipeRecordings], None], reason: str
) -> None:
    state = recordings.start(1, "anna")
    net.pass_on(1, b"one")
    end(net, recordings)
    assert ended(recordings) == reason
    assert read(state) == ([b"one"], "")


def test_a_server_that_ends_without_ending_its_recordings_is_caught(net: Network, recordings: PipeRecordings) -> None:
    state = recordings.start(1, "anna")
    net.pass_on(1, b"one")
    eventually(lambda: recordings.states()["1"]["bytes"] > 0, DEADLINE_S, "a start of the file")
    assert "has no end" in read(state)[1]


def test_none_begins_while_the_server_ends(net: Network, recordings: PipeRecordings) -> None:
    recordings.close()
    with pytest.raises(UserError, match="the page's server is ending"):
        recordings.start(1, "anna")


def test_a_full_disk_ends_it_intact(net: Network, recordings: PipeRecordings, monkeypatch: pytest.MonkeyPatch) -> None:
    state = recordings.start(1, "anna")
    net.pass_on(1, b"one")
    eventually(lambda: recordings.states()["1"]["blocks"] == 1, DEADLINE_S, "a block")

    def full(*rest: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Recorder, "write", full)
    net.pass_on(1, b"two", sqn=2)
    assert ended(recordings) == "the file cannot be written: No space left on device; it is intact up to the last recorded block"
    assert read(state)[0] == [b"one"]


def test_it_leaves_room_on_the_disk(net: Network, folder: Path) -> None:
    left = LEAST_FREE
    recordings = PipeRecordings(folder, wall_clock=lambda: NOON, free=lambda path: left)
    state = recordings.start(1, "anna")
    net.pass_on(1, b"one")
    left = LEAST_FREE - 1
    assert ended(recordings) == f"less than {LEAST_FREE >> 20} MB are free on the disk of {state.file}"
    assert read(state)[1] == ""
    with pytest.raises(UserError, match="are free on the disk"):
        recordings.start(1, "anna")
    recordings.close()


def test_a_folder_that_cannot_be_made_is_said(net: Network, folder: Path, recordings: PipeRecordings) -> None:
    (folder / "recordings").write_text("")
    with pytest.raises(UserError, match=r"recordings cannot be made: File exists"):
        recordings.start(1, "anna")
    assert recordings.states() == {}
