"""The PipelineManager without a Router: how it handles news."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fission.pipelines import Job, Pipeline, PipelineManager, RouterAnswer


class News:
    """Stands for the broadcast and for the api: each call of `receive` brings the next message."""

    def __init__(self) -> None:
        self.broadcasts: list[bytes] = []
        self.answers: list[dict[str, Any]] = []
        self.waited: list[float] = []

    def receive(self, timeout: float) -> list[tuple[str, bytes]]:
        self.waited.append(timeout)
        return [("ended", self.broadcasts.pop(0))] if self.broadcasts else []

    def request(self, body: bytes, timeout: float, *, again: float = 1.0) -> bytes:
        command = json.loads(body)["command"]
        if command == "add pipelines":
            return b'{"answer": "pipelines accepted", "number": 1}'
        return json.dumps(self.answers.pop(0) if self.answers else {"answer": "ok", "number": 0, "ends": []}).encode()

    def close(self) -> None:
        pass

    def end(self, number: int, name: str, state: str = "finished") -> None:
        self.broadcasts.append(json.dumps({"before": number - 1, "ends": [[name, state, 1.5, number, None]]}).encode())


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def manager(news: News) -> Iterator[PipelineManager]:
    with PipelineManager("tcp://127.0.0.1:1", "tcp://127.0.0.1:2") as found:
        found._client.close()
        found._listener.close()
        found._client = found._listener = news  # type: ignore[assignment]
        yield found


def test_the_published_waiting_loop_ends(manager: PipelineManager, news: News) -> None:
    """``while not all(...)`` asks only for the first that is not over; ``for ...: manager.finished(first)`` must take all news, too."""
    pipelines = [Pipeline({Job("A"): None}) for _ in range(5)]
    names = manager.start_all(pipelines)
    news.end(1, names[0])
    assert manager.finished(pipelines[0])
    for number, name in enumerate(names[1:], 2):
        news.end(number, name)
    for _ in range(4):
        assert manager.finished(pipelines[0]), "one that is over stays so"
    assert [pipeline.finished for pipeline in pipelines] == [True] * 5
    assert manager.finished_pipelines == 5


def test_one_call_takes_the_news_of_all_pipelines(manager: PipelineManager, news: News) -> None:
    pipelines = [Pipeline({Job("A"): None}) for _ in range(3)]
    names = manager.start_all(pipelines)
    news.broadcasts.append(
        json.dumps({"before": 0, "ends": [[name, "finished", 1.0, n, None] for n, name in enumerate(names, 1)]}).encode()
    )
    assert manager.finished(pipelines[0])
    assert all(pipeline.finished for pipeline in pipelines)


def test_asking_for_a_finished_pipeline_does_not_wait(manager: PipelineManager, news: News) -> None:
    pipelines = [Pipeline({Job("A"): None}) for _ in range(2)]
    names = manager.start_all(pipelines)
    news.end(1, names[0])
    manager.finished(pipelines[0])
    manager.finished(pipelines[0])
    assert news.waited == [0.05, 0.0]


MALFORMED = [
    b"",
    b"[]",
    b"{}",
    b'{"before": "x", "ends": []}',
    b'{"before": 0, "ends": [3]}',
    b'{"before": 0, "ends": [[1, 2, 3, 4, 5]]}',
    b"[" * 5000,
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_news_are_left_out(manager: PipelineManager, news: News, data: bytes) -> None:
    (name,) = manager.start_all([pipeline := Pipeline({Job("A"): None})])
    news.broadcasts.append(data)
    assert not manager.finished(pipeline)
    news.end(1, name)
    assert manager.finished(pipeline)


def test_a_malformed_answer(manager: PipelineManager, news: News) -> None:
    manager.start_all([Pipeline({Job("A"): None})])
    news.answers.append({"answer": "ok", "ends": [3]})
    with pytest.raises(RouterAnswer, match=r"cannot be understood: 'ends\[0\]' must be a list"):
        manager._catch_up()
