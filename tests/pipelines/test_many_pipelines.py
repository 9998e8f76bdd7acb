"""The numbers and the list of a page with 100,000 pipelines in the Router's database."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fission.protocol.pipeline_records import EndRecord, NewPipeline
from tests.pipelines.test_router_api import CHAIN, Talk

MANY = 100_000
#: Share of the processor time of a look at all of them that an answer may take. Measured: below 0.01.
SHARE = 0.2


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(180)  # most of it writes what has ended
def test_a_hundred_thousand_pipelines_do_not_slow_the_page(tmp_path: Path) -> None:
    """What a page asks in a second takes the Router a few milliseconds, also for what ended long ago."""
    talk = Talk(str(tmp_path / "state.sqlite"))
    body = '{"jobs": [{"worker_name": "A"}], "graph": [[0, null]], "data": {"n": 1}}'
    names = [f"p{number}" for number in range(MANY)]
    talk.store.add([NewPipeline(name, body, 1.0) for name in names])
    talk.store.end([EndRecord(name, "failed" if number % 1000 == 0 else "finished", 2.0, 1.0) for number, name in enumerate(names)])
    talk.store.commit()
    talk.add("new", CHAIN)
    seconds: dict[str, float] = {}
    for name, wanted in {
        "counts": {"command": "counts"},
        "newest": {"command": "pipelines", "limit": 50},
        "failed": {"command": "pipelines", "limit": 50, "states": ["failed"]},
        "old": {"command": "pipelines", "limit": 50, "before": 1000},
        "cancelled": {"command": "pipelines", "limit": 50, "states": ["cancelled"]},
        "running": {"command": "pipelines", "limit": 50, "states": ["running"]},
        "one": {"command": "pipeline", "pipeline id": "p500"},
    }.items():
        begin = time.thread_time()
        for _ in range(10):
            answer = talk.ask(**wanted)
        seconds[name] = (time.thread_time() - begin) / 10
        assert answer["answer"] == "ok"
    counted = talk.ask(command="counts")["pipelines"]
    assert counted == {"waiting": 1, "running": 0, "cancelled": 0, "failed": MANY // 1000, "finished": MANY - MANY // 1000}
    begin = time.thread_time()
    assert len(talk.store.listed(None, None, MANY)) == MANY
    whole_s = time.thread_time() - begin
    assert max(seconds.values()) < SHARE * whole_s, (seconds, whole_s)
    talk.store.close()
