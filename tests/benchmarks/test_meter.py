"""The yardstick: what all chains send and how their sinks measure it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from benchmarks.networks.chain import meter
from benchmarks.networks.chain.meter import DEFAULTS, Meter, blocks
from benchmarks.peers import PEERS, merged, queue_length


def order(**changes: Any) -> dict[str, Any]:
    return DEFAULTS | changes


def measured(sent: list[Any], **changes: Any) -> dict[str, float]:
    """Return what a sink measures of these blocks."""
    sink = Meter(order(**changes))
    results = [result for block in sent if (result := sink.take(block)) is not None]
    assert len(results) == 1
    return results[0]


def test_the_rate_counts_from_the_first_send() -> None:
    now = time.time()
    sent = [[now - 10, b""], [now - 1, b""], [now, 2]]

    assert measured(sent)["blocks_per_s"] == pytest.approx(0.2, rel=0.01)


@pytest.mark.parametrize("kind", ["bytes", "numpy", "float", "raw"])
@pytest.mark.parametrize("keep", [True, False])
def test_every_kind_of_block_is_counted(kind: str, keep: bool) -> None:
    sent = list(blocks(order(kind=kind, count=5, size=64)))

    assert measured(sent, kind=kind, keep=keep, size=64)["count"] == 5


@pytest.mark.parametrize("kind", ["bytes", "raw"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_block_that_is_lost_is_noticed(kind: str, keep: bool) -> None:
    sent = list(blocks(order(kind=kind, count=5, size=64)))
    del sent[2]

    with pytest.raises(RuntimeError, match="4 blocks came instead of 5"):
        measured(sent, kind=kind, keep=keep, size=64)


def test_a_source_sends_for_so_many_seconds() -> None:
    began = time.time()
    sent = list(blocks(order(seconds=0.05)))

    assert time.time() - began >= 0.05
    assert sent[-1][1] == len(sent) - 1 > 0


@pytest.mark.parametrize("payload", [bytes(range(64)), numpy.arange(64, dtype=numpy.uint8), numpy.arange(8.0)])
def test_a_sink_that_reads_takes_every_kind(payload: Any) -> None:
    now = time.time()
    assert measured([[now, payload], [now, 1]], read="read")["count"] == 1


@pytest.mark.parametrize("kind", ["numpy", "raw"])
@pytest.mark.parametrize("keep", [True, False])
def test_the_first_large_blocks_are_not_measured(monkeypatch: pytest.MonkeyPatch, kind: str, keep: bool) -> None:
    slept: list[float] = []
    monkeypatch.setattr(meter, "time", SimpleNamespace(time=time.time, perf_counter=time.perf_counter, sleep=slept.append))
    changes = {"kind": kind, "count": 3, "size": 1 << 24, "keep": keep}

    sent = list(blocks(order(**changes)))

    assert len(sent) == 4 + 3 + 1
    assert slept == [meter.WARM_PAUSE_S]
    assert measured(sent, **changes)["count"] == 3


def test_blocks_under_way_are_bounded_by_a_window() -> None:
    assert 2 * queue_length({"size": 8}) == 4096
    assert 2 * queue_length({"size": 1 << 20}) == 32
    assert queue_length({"size": 1 << 30}) == 1


def test_the_slowest_sink_counts() -> None:
    fast, slow = ({"count": 10, "blocks_per_s": rate, "p50_us": 1, "p99_us": rate} for rate in (20, 10))

    result = merged([fast, slow], [1e-5, 3e-5, 2e-5, 2e-5], {"hops": 2, "sinks": 2})

    assert (result["blocks_per_s"], result["p99_us"], result["hop_cpu_us"]) == (10, 20, pytest.approx(3.0))
    assert result["cpu_us"] == pytest.approx(8.0)


@pytest.mark.slow
@pytest.mark.parametrize("peer", sorted(PEERS))
@pytest.mark.parametrize(
    "changes",
    [{"kind": "float", "size": 8000, "work": "double", "read": "sum"}, {"hops": 1, "sinks": 2}, {"kind": "raw", "size": 64}],
    ids=["changed arrays", "two sinks", "raw"],
)
def test_a_peer_delivers_every_block(peer: str, changes: dict[str, Any]) -> None:
    result = PEERS[peer](changes | {"count": 20})

    assert result["count"] == 20
    assert result["cpu_us"] > 0
