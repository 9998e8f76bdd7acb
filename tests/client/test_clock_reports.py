"""Which jobs the client reports its clock to, and when."""

from __future__ import annotations

from fission.client.run.jobs.clock_reports import ClockReports
from fission.client.run.nodes.node_clocks import CLOCK_FIELDS, WALL_FIELD, NodeClocks
from fission.protocol.messages.client_to_job import ClientClock, ClientToJob


class Run:
    def __init__(self) -> None:
        self.wall_s = 1000.0
        self.clocks = NodeClocks(lambda: self.wall_s)
        self.newest = {1: (1, "far"), 2: (3, "far"), 3: (1, "near"), 4: (1, "other")}
        self.sent: list[tuple[int, ClientToJob]] = []
        self.reports = ClockReports(
            self.clocks, lambda node: "" if node == "near" else node, self.newest.__getitem__, lambda *order: self.sent.append(order)
        )

    def pulse(self, node: str, offset_s: float) -> None:
        self.clocks.heard(node, {**dict(zip(CLOCK_FIELDS, (offset_s, 0.001, 1e-6), strict=True)), WALL_FIELD: 0.0})
        self.reports.measured(node)

    def taken(self) -> list[tuple[int, ClientToJob]]:
        found, self.sent = self.sent, []
        return found


def clock(offset_s: float, wall_s: float = 1000.0) -> ClientClock:
    return ClientClock(known=True, offset_s=offset_s, error_s=0.001, drift=1e-6, wall_s=wall_s)


def test_a_job_that_asks_is_reported_the_clock_now_and_at_each_measurement() -> None:
    run = Run()
    run.pulse("far", 5.0)
    assert run.taken() == [], "no job has asked"
    run.reports.asked(1, 1)
    assert run.taken() == [(1, clock(5.0))]
    run.wall_s = 1500.0  # the client's clock was set
    run.pulse("far", 6.0)
    run.pulse("other", 9.0)
    assert run.taken() == [(1, clock(6.0, 1500.0))]


def test_before_the_first_measurement_and_on_this_machine() -> None:
    run = Run()
    run.reports.asked(4, 1)
    run.reports.asked(3, 1)
    assert run.taken() == [(4, ClientClock()), (3, ClientClock(local=True))]
    run.pulse("near", 0.0)
    assert run.taken() == [], "there is nothing to correct"
    run.pulse("other", 2.0)
    assert run.taken() == [(4, clock(2.0))]


def test_older_incarnations_get_nothing() -> None:
    run = Run()
    run.reports.asked(2, 2)
    assert run.taken() == []
    run.pulse("far", 1.0)
    run.reports.asked(2, 3)
    run.newest[2] = 4, "other"
    run.taken()
    run.pulse("far", 1.0)
    run.pulse("other", 1.0)
    assert run.taken() == [], "the new incarnation has not asked"
