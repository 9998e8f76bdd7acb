"""Taps of the page: open while a viewer looks, one for all who look at the same, bounded, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.dashboard import tap_follow
from fission.dashboard.tap_follow import MOST_TAPS, MOST_WAITING, STALLED_S, PipeTaps
from fission.dashboard.tap_routes import options_of
from fission.dashboard.tap_view import TapOptions
from fission.errors import UserError
from tests.waiting import DEADLINE_S

FIRST = TapOptions(1, 1024)


class Followed:
    """In place of the network: which taps are open."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.ended = threading.Event()

    def follow(self, tap: Any, folder: Path, options: TapOptions) -> None:
        self.open.append(options.pipe)
        tap._over.wait()
        self.open.remove(options.pipe)
        self.ended.set()


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    found = Followed()
    monkeypatch.setattr(tap_follow._SharedTap, "_follow", lambda tap, folder, options: found.follow(tap, folder, options))
    yield found
    assert not found.open


def test_viewers_of_the_same_share_a_tap_that_ends_with_the_last_one(followed: Followed) -> None:
    async def main() -> None:
        taps = PipeTaps(Path("net"))
        first, second, other = taps.updates(FIRST), taps.updates(FIRST), taps.updates(TapOptions(2, 1024))
        for updates in (first, second, other):
            await anext(updates)
        assert taps.open == 2
        taps._taps[FIRST]._tell({"passed": 5})
        assert [(await anext(updates))["passed"] for updates in (first, second)] == [5, 5]
        await first.aclose()  # type: ignore[attr-defined]
        assert taps.open == 2
        await second.aclose()  # type: ignore[attr-defined]
        assert taps.open == 1
        assert await asyncio.to_thread(followed.ended.wait, 5)
        await taps.close()
        assert taps.open == 0

    asyncio.run(main())


def test_a_viewer_that_takes_nothing_is_gone_after_a_while(followed: Followed) -> None:
    """As when a machine sleeps: its connection stays, and what is sent to it waits."""

    async def main() -> None:
        now = 0.0
        taps = PipeTaps(Path("net"), clock=lambda: now)
        updates = taps.updates(FIRST)
        await anext(updates)
        tap = taps._taps[FIRST]
        for number in range(MOST_WAITING + 3):
            tap._tell({"passed": number})
        now = STALLED_S
        tap._tell({"passed": 99})
        assert taps.open == 1
        assert (await anext(updates))["passed"] == 4, "the oldest ones are dropped"
        now = 2 * STALLED_S + 1
        tap._tell({"passed": 100})
        assert taps.open == 0
        assert len([update async for update in updates]) <= 1  # the stream ends; the browser connects again
        await taps.close()

    asyncio.run(main())


def test_a_viewer_that_waits_for_a_silent_pipe_is_not_gone(followed: Followed) -> None:
    async def main() -> None:
        now = 0.0
        taps = PipeTaps(Path("net"), clock=lambda: now)
        updates = taps.updates(FIRST)
        await anext(updates)
        waiting = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0)
        now = 10 * STALLED_S
        taps._taps[FIRST]._tell({"passed": 1})
        assert (await waiting)["passed"] == 1
        assert taps.open == 1
        await updates.aclose()  # type: ignore[attr-defined]
        await taps.close()

    asyncio.run(main())


def test_the_number_of_taps_is_bounded(followed: Followed) -> None:
    async def main() -> None:
        taps = PipeTaps(Path("net"))
        opened = [taps.updates(TapOptions(pipe, 1024)) for pipe in range(MOST_TAPS)]
        for updates in opened:
            await anext(updates)
        with pytest.raises(UserError, match="close one"):
            taps.check(TapOptions(99, 1024))
        taps.check(TapOptions(0, 1024))
        await taps.close()
        for updates in opened:
            with contextlib.suppress(StopAsyncIteration):
                await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_a_tap_survives_whatever_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A panel must not stay as it is until all who look at the pipe have left."""
    mishaps: list[Exception] = [ValueError("no batch"), MemoryError()]
    wait = threading.Event()

    def follow(tap: Any, folder: Path, options: TapOptions) -> None:
        if mishaps:
            raise mishaps.pop(0)
        tap._send({"passed": 1})
        wait.wait(DEADLINE_S)

    monkeypatch.setattr(tap_follow._SharedTap, "_follow", follow)
    monkeypatch.setattr(tap_follow, "RETRY_S", 0.0)

    async def main() -> None:
        taps = PipeTaps(Path("net"))
        updates = taps.updates(FIRST)
        seen = [await anext(updates) for _ in range(4)]
        assert ["ValueError: no batch" in seen[1]["reason"], "MemoryError" in seen[2]["reason"], seen[3]] == [True, True, {"passed": 1}]
        wait.set()
        await updates.aclose()  # type: ignore[attr-defined]
        await taps.close()

    asyncio.run(main())


def test_without_a_network_the_reason_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        taps = PipeTaps(tmp_path / "net")
        updates = taps.updates(FIRST)
        await anext(updates)
        assert "net is not running" in (await anext(updates))["reason"]
        await updates.aclose()  # type: ignore[attr-defined]
        await taps.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "pipe"),
        ({"pipe": "-1"}, "pipe"),
        ({"pipe": "4294967296"}, "pipe"),
        ({"pipe": "²"}, "pipe"),
        ({"pipe": "1", "window": "1000000"}, "window"),
        ({"pipe": "1", "as": "object"}, "as"),
        ({"pipe": "1", "sound": "2"}, "sound"),
    ],
)
def test_options_that_cannot_be_are_refused(parameters: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        options_of(parameters)


def test_options_have_defaults() -> None:
    assert options_of({"pipe": "7"}) == TapOptions(7, 1024)
    assert options_of({"pipe": "7", "as": "int16", "sound": "1", "window": "256"}) == TapOptions(7, 256, "int16", True)
