"""The client's local socket: requests, streams, and viewers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fission
from fission.client.serve.control_server import MAX_VIEWERS, RUNNING_FILE, Connection, ControlServer, Refused, Viewer
from fission.errors import AllocationError, RemoteProtocolError, UserError
from fission.protocol.messages.client_to_viewer import ConsoleAnswer, RunFollowed, RunStopping
from fission.protocol.messages.viewer_to_client import MAX_REQUEST_BYTES, CheckConsole, FollowRun, StopRun
from tests.waiting import eventually


class Served:
    """A control server in its own thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "simulation").mkdir()
        self.file = folder / "simulation/running.json"
        self.requests = ControlServer(str(folder / "socket"), self.file)
        self.loop = asyncio.new_event_loop()
        self.closed: list[str] = []
        self.requests.answer(CheckConsole, self._double)
        self.requests.answer(StopRun, self._refuse)
        self.requests.answer(FollowRun, self._stream)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.call(self.requests.open())

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _double(self, request: CheckConsole, connection: Connection) -> RunStopping:
        return RunStopping(pid=2 * request.job)

    async def _refuse(self, request: StopRun, connection: Connection) -> RunStopping:
        raise AllocationError("no room")

    async def _stream(self, request: FollowRun, connection: Connection) -> RunFollowed:
        connection.on_close.append(lambda: self.closed.append("closed"))

        async def send() -> None:
            with contextlib.suppress(OSError):  # the viewer is gone
                for packet in (b"one", b"", b"x" * 1_000_000):
                    await connection.send(packet)

        self.task = asyncio.create_task(send())
        return RunFollowed()

    def end(self) -> None:
        self.call(self.requests.close())
        self.call(self.requests.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.end()


def raw(served: Served) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(10)
    channel.connect(str(served.folder / "socket"))
    return channel


def double(viewer: Viewer, value: int) -> int:
    return viewer.ask(CheckConsole(job=value), RunStopping).pid


def test_requests_are_answered(served: Served) -> None:
    with Viewer(served.folder) as viewer:
        for value in range(100):
            assert double(viewer, value) == 2 * value


def test_other_terminals_find_it(served: Served) -> None:
    found = json.loads(served.file.read_text())
    assert (found["pid"], found["requests"]) == (os.getpid(), str(served.folder / "socket"))
    assert (found["version"], found["nodes"]) == (fission.__version__, False)


def test_an_answer_of_another_class_is_refused(served: Served) -> None:
    with Viewer(served.folder) as viewer:
        with pytest.raises(RemoteProtocolError, match="must be a ConsoleAnswer, but is a RunStopping"):
            viewer.ask(CheckConsole(job=1), ConsoleAnswer)
        assert double(viewer, 4) == 8


def test_a_refusal_has_its_exit_code(served: Served) -> None:
    with Viewer(served.folder) as viewer, pytest.raises(Refused, match=r"^no room$") as caught:
        viewer.ask(StopRun(), RunStopping)
    assert caught.value.exit_code == 3


def test_a_stream_after_an_answer(served: Served) -> None:
    with Viewer(served.folder) as viewer:
        viewer.ask(FollowRun(), RunFollowed)
        packets = viewer.packets()
        assert [next(packets) for _ in range(3)] == [b"one", b"", b"x" * 1_000_000]
        assert served.closed == []
    eventually(lambda: served.closed, 5, "that the viewer is gone")


def test_a_stream_with_a_limit(served: Served) -> None:
    with Viewer(served.folder) as viewer:
        viewer.ask(FollowRun(), RunFollowed)
        packets = list(viewer.packets(deadline=0.0))
        assert packets == []


def test_many_at_once_and_one_too_many(served: Served) -> None:
    viewers = [Viewer(served.folder) for _ in range(MAX_VIEWERS)]
    for number, viewer in enumerate(viewers):
        assert double(viewer, number) == 2 * number
    with Viewer(served.folder) as last, pytest.raises(Refused, match=f"{MAX_VIEWERS} other terminals watch this network already"):
        double(last, 1)
    for viewer in viewers:
        viewer.__exit__(None, None, None)

    def again() -> bool:
        try:
            with Viewer(served.folder) as viewer:
                return double(viewer, 1) == 2
        except Refused:
            return False

    eventually(again, 5, "room for another viewer")


def test_a_client_that_accepts_late_is_waited_for(tmp_path: Path) -> None:
    """One that is busy while many connect: its queue of connections is full."""
    with listening(tmp_path, 1) as busy, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(Viewer(tmp_path)) for _ in range(2)]  # as many as the queue has room for
        with ThreadPoolExecutor() as threads:
            one_more = threads.submit(Viewer, tmp_path)
            with pytest.raises(TimeoutError):
                one_more.result(0.2)
            for _ in waiting:
                stack.enter_context(busy.accept()[0])
            stack.enter_context(one_more.result(10))


def test_a_client_that_accepts_nothing_is_said_to_be_silent(tmp_path: Path) -> None:
    with listening(tmp_path, 0), Viewer(tmp_path), pytest.raises(UserError, match=r"has not answered for 0\.1 s; is it stopped\?"):
        Viewer(tmp_path, answer_s=0.1)


@contextlib.contextmanager
def listening(folder: Path, waiting: int) -> Iterator[socket.socket]:
    """A client that accepts nothing by itself, and lets one more than ``waiting`` wait."""
    run = folder / "simulation"
    run.mkdir()
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(folder / "socket"))
        busy.listen(waiting)
        (run / RUNNING_FILE).write_text(json.dumps({"requests": str(folder / "socket")}))
        yield busy


BAD = [
    (b"{\n", "does not understand this request"),
    (b"[1]\n", "does not understand this request"),
    (b'{"type":"check_console"}\n', "missing required field `job`"),
    (b'{"type":"check_console","job":"1"}\n', "Expected `int`, got `str`"),
    (b'{"type":"dance"}\n', "Invalid value 'dance'"),
    (b'{"type":"collect_logs"}\n', "this network does not answer a CollectLogs"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_requests_are_refused_and_the_next_one_answered(served: Served, line: bytes, message: str) -> None:
    with raw(served) as channel, channel.makefile("r") as answers:
        channel.sendall(line)
        assert message in json.loads(answers.readline())["error"]
        channel.sendall(b'{"type":"check_console","job":4}\n')
        assert json.loads(answers.readline()) == {"type": "run_stopping", "pid": 8}


def test_a_line_without_an_end_is_not_gathered_for_ever(served: Served) -> None:
    with raw(served) as channel:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # it hangs up
            channel.sendall(b"x" * MAX_REQUEST_BYTES * 100)
        with Viewer(served.folder) as viewer:
            assert double(viewer, 1) == 2


def test_no_server(tmp_path: Path) -> None:
    message = r"is not running on this machine; start it in another terminal: fission .* simulate"
    with pytest.raises(UserError, match=message):
        Viewer(tmp_path)
    (tmp_path / "simulation").mkdir()
    for text in ("", "{", '{"pid": 1}', '{"requests": "/nowhere"}'):
        (tmp_path / "simulation/running.json").write_text(text)
        with pytest.raises(UserError, match=message):
            Viewer(tmp_path)


def test_the_end_of_the_network(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with Viewer(tmp_path) as viewer:
        double(viewer, 1)
        served.end()
        with pytest.raises(UserError, match="has ended"):
            double(viewer, 1)
    assert not served.file.exists()


def test_hanging_up_ends_a_viewers_wait(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with Viewer(tmp_path) as viewer:
        viewer.ask(FollowRun(), RunFollowed)
        packets = viewer.packets()
        assert next(packets) == b"one"
        threading.Timer(0.05, served.end).start()
        assert list(packets)[-1:] in ([b"x" * 1_000_000], [b""])
    eventually(lambda: served.closed, 5, "that the handler was notified")


def test_a_client_that_is_refused_before_it_asks_learns_why(tmp_path: Path) -> None:
    """The other end has hung up by then, and the question can no longer be sent."""
    (tmp_path / "simulation").mkdir()
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        (tmp_path / "simulation/running.json").write_text(json.dumps({"pid": 1, "requests": path}))
        with Viewer(tmp_path) as viewer:
            server, _ = listening.accept()
            server.sendall(b'{"type":"viewer_refused","error":"too many","exit_code":1}\n')
            server.close()
            with pytest.raises(Refused, match="too many"):
                double(viewer, 1)
