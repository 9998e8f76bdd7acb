"""The page of the pipelines, without a browser: its routes with a Router in memory, and how often they ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fission.dashboard.pipelines_site import ROWS, PipelinesSite
from fission.dashboard.pipelines_view import MOST_JOBS, ROW_TEXT
from fission.dashboard.router_client import CACHE_S, RouterClient
from fission.pipelines import Job, Pipeline
from tests.dashboard.router_in_memory import ACCESS, OPERATOR, VIEWER, Clock, MemoryRouter, ask, client_of, request
from tests.pipelines.test_router_api import CHAIN


@pytest.fixture
def router() -> Iterator[MemoryRouter]:
    found = MemoryRouter()
    yield found
    found.talk.store.close()


def test_the_overview_counts_pipelines_jobs_and_brokers(router: MemoryRouter) -> None:
    router.talk.fake.connected["b"] = ["tcp://10.0.0.1:1"]
    router.talk.api.tick()
    router.fail("x")
    router.talk.add("y", CHAIN)
    router.talk.later(30.0, 1.0)
    router.talk.pulse()
    status, found = ask(router, "/overview")
    assert status == 200
    assert found["pipelines"] == {"waiting": 1, "running": 0, "finished": 0, "failed": 1, "cancelled": 0}
    assert found["jobs"]["failed"] == 1
    assert found["throughput"] == {"finished": 0.0, "failed": pytest.approx(1 / 30), "ended": pytest.approx(1 / 30)}
    assert [rate[1:] for rate in found["rates"]][:2] == [[0.0, pytest.approx(1 / 5)], [0.0, 0.0]]
    (broker,) = found["brokers"]
    assert (broker["processes"], broker["addresses"], broker["workers"]) == (1, ["10.0.0.1"], ["A", "B"])


def test_the_list_has_the_newest_first_by_state_and_page_by_page(router: MemoryRouter) -> None:
    router.talk.pulse()
    for number in range(ROWS + 10):
        router.talk.add(f"p{number}", CHAIN)
    router.talk.ask(**{"command": "cancel", "pipeline id": "p3"})
    first = ask(router, "/pipelines")[1]["pipelines"]
    assert [row["id"] for row in first] == [f"p{number}" for number in range(ROWS + 9, 9, -1)]
    rest = ask(router, f"/pipelines?before={first[-1]['order']}")[1]["pipelines"]
    assert [row["id"] for row in rest] == [f"p{number}" for number in range(9, -1, -1)]
    assert [row["id"] for row in ask(router, "/pipelines?state=cancelled")[1]["pipelines"]] == ["p3"]
    assert len(ask(router, "/pipelines?before=x")[1]["pipelines"]) == ROWS, "what is not a number chooses nothing"
    status, found = ask(router, "/pipelines?state=lost")
    assert status == 409
    assert "must be waiting, running" in found["error"]


def test_a_pipeline_is_shown_with_each_jobs_state_tries_and_error(router: MemoryRouter) -> None:
    router.fail("x", data={"page": 7}, error="ValueError: no", traceback="Traceback: here")
    status, found = ask(router, "/pipelines/x")
    assert (status, found["state"], found["data"], found["error"]) == (200, "failed", '{"page": 7}', "A: ValueError: no")
    one, two = found["jobs"]
    assert (one["state"], one["tries"], one["error"], one["traceback"]) == ("failed", 1, "ValueError: no", "Traceback: here")
    assert (one["node"], one["duration"]) == ("n-0", 0.25)
    assert (two["state"], two["after"]) == ("skipped", [0])
    assert ask(router, "/pipelines/nothing")[0] == 409


def test_values_of_users_are_bounded_texts_in_ascii(router: MemoryRouter) -> None:
    router.fail("x", data={"text": "\ud800 \u2028" + "y" * 50_000})
    (row,) = ask(router, "/pipelines")[1]["pipelines"]
    assert len(row["data"]) == ROW_TEXT
    assert row["data"].startswith('{"text": "\ud800 \u2028yyy')
    assert len(ask(router, "/pipelines/x")[1]["data"]) == 20_000


def test_of_too_many_jobs_those_that_failed_are_shown(router: MemoryRouter) -> None:
    router.talk.pulse()
    jobs = [Job("A", data={"number": number}) for number in range(MOST_JOBS + 20)]
    router.talk.add("x", Pipeline(dict.fromkeys(jobs)))
    router.talk.exchange()
    router.talk.exchange(run=[["x", MOST_JOBS + 5, 1]])
    router.talk.end("raised", job=MOST_JOBS + 5, error="e", traceback="t" * 6000)
    found = ask(router, "/pipelines/x")[1]
    assert (len(found["jobs"]), found["omitted"]) == (MOST_JOBS, 20)
    assert found["jobs"][-1]["error"] == "e"


# -- acting --------------------------------------------------------------------------------------------------------------


def test_an_operator_runs_a_failed_pipeline_again_and_cancels_it(router: MemoryRouter) -> None:
    router.fail("x")
    assert ask(router, "/pipelines/x/retry", OPERATOR, "POST") == (200, {"id": "x"})
    assert ask(router, "/pipelines/x")[1]["state"] == "waiting"
    status, found = ask(router, "/pipelines/x/retry", OPERATOR, "POST")
    assert status == 409
    assert "has not ended" in found["error"]
    assert ask(router, "/pipelines/x/cancel", OPERATOR, "POST")[0] == 200
    assert ask(router, "/pipelines/x")[1]["state"] == "cancelled"
    assert ask(router, "/pipelines/x/explode", OPERATOR, "POST")[0] == 409
    assert [line for line in router.talk.records if "asked" in line] == [
        "[API] pipeline x runs again, as local (page) asked",
        "[API] pipeline x is cancelled, as local (page) asked",
    ]


def test_a_name_cannot_forge_a_line_of_the_routers_log(router: MemoryRouter) -> None:
    router.fail("x")
    answer = router.talk.ask(**{"command": "retry", "pipeline id": "x", "by": "anna\nERROR"})
    assert (answer["answer"], answer["kind"]) == ("error", "malformed")
    assert router.talk.ask(**{"command": "retry", "pipeline id": "x"})["answer"] == "ok", "programs need not say who they are"


def test_a_viewer_changes_nothing(router: MemoryRouter) -> None:
    router.fail("x")
    for headers in ({}, VIEWER, {"cookie": f"fission_session={ACCESS.session('acts')}"}):  # the last one: from another site
        assert ask(router, "/pipelines/x/retry", headers, "POST")[0] in (401, 403)
    assert "retry" not in router.asked


@pytest.mark.parametrize("path", ["/overview", "/pipelines", "/pipelines/x", "/visitor", "/metrics", "/"])
def test_without_a_token_nothing_is_shown(router: MemoryRouter, path: str) -> None:
    status, body = ask(router, path, {})
    assert status == 401
    assert "token" in body
    assert router.asked == []


# -- how often the Router is asked ---------------------------------------------------------------------------------------


class Uncached(RouterClient):
    """A broken one: each viewer asks."""

    async def get(self, request: Any, kind: Any) -> Any:
        return await super().change(request, kind)


def asked_by(viewers: int, kind: type[RouterClient] = RouterClient) -> list[str]:
    """Return what a Router is asked by viewers who look for less than `CACHE_S`, each twice."""
    router, clock = MemoryRouter(), Clock()

    async def look() -> None:
        site = PipelinesSite(client_of(router, clock, kind))
        app = site.app(ACCESS, ["localhost"], secure=False)
        for _ in range(2):
            await asyncio.gather(*(request(app, "/overview") for _ in range(viewers)))
            clock.now += CACHE_S / 3
        await site.close()

    asyncio.run(look())
    router.talk.store.close()
    return router.asked


def test_many_viewers_cost_what_one_costs() -> None:
    assert asked_by(10) == asked_by(1) == ["status", "counts"]


def test_a_page_that_asks_for_each_viewer_is_caught() -> None:
    assert len(asked_by(10, Uncached)) > 2


def test_what_is_shown_is_at_most_a_moment_old_and_a_change_is_seen_at_once(router: MemoryRouter) -> None:
    clock = Clock()

    async def look() -> None:
        site = PipelinesSite(client_of(router, clock))
        app = site.app(ACCESS, ["localhost"], secure=False)
        router.fail("x")
        assert (await request(app, "/pipelines/x"))[1]["state"] == "failed"
        await request(app, "/pipelines/x/retry", OPERATOR, "POST")
        assert (await request(app, "/pipelines/x"))[1]["state"] == "waiting"
        router.talk.ask(**{"command": "cancel", "pipeline id": "x"})
        assert (await request(app, "/pipelines/x"))[1]["state"] == "waiting", "it is not asked again"
        clock.now += CACHE_S
        assert (await request(app, "/pipelines/x"))[1]["state"] == "cancelled"
        await site.close()

    asyncio.run(look())


def test_a_router_that_is_gone_is_asked_once_in_a_moment_and_found_again(router: MemoryRouter) -> None:
    clock = Clock()
    router.is_up = False

    async def look() -> None:
        site = PipelinesSite(client_of(router, clock))
        app = site.app(ACCESS, ["localhost"], secure=False)
        for path in ("/overview", "/pipelines", "/pipelines/x"):
            status, found = await request(app, path)
            assert status == 503
            assert "no Router answers" in found["error"]
        assert len(router.asked) == 1
        router.is_up = True
        clock.now += CACHE_S
        assert (await request(app, "/overview"))[0] == 200
        await site.close()

    asyncio.run(look())
