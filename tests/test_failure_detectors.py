"""Every limit in the table of failure detectors (docs/architecture.md) is a constant's value.

The constant is in the file that the table names.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fission.adapters.cluster import engine, node_events, scheduler
from fission.adapters.local_engine import engine as local_engine
from fission.client.run.engines import cluster
from fission.client.run.nodes import gathering, preferences
from fission.pipelines import broker_registry, router_state
from fission.protocol import connection_limit, link_quality, liveness, node_lease, progress, relay, retained_values
from fission.runtime import ratio_watch
from fission.service import pulses

ROOT = Path(__file__).resolve().parent.parent

#: Detector -> its limit, from the constants. Detectors without a constant limit are left out.
LIMITS = {
    "exit of a job": "at once",
    "node": f"{liveness.MISSES} x `PULSE_INTERVAL`",
    "virtual node of the client's machine": f"silence of {liveness.MISSES} pulses",
    "deaf node": f"ignored after {node_events.DEAF_PULSES}; {liveness.MISSES} pulses later",
    "given-up node, seen by itself": f"{pulses.UNKNOWN_ECHOES} answers",
    "return of a node": "2 pulses, at least half an interval apart",
    "closed connection": f"{engine.GONE_PULSES} pulses",
    "silent client, seen by a node": f"{node_lease.QUIET_PULSES} pulses",
    "orphaned jobs": "`ORPHAN_TIMEOUT`",
    "stalled job": f"{progress.CONFIRM_S:g} s to confirm",
    "silent job": f"{progress.LATE_S:g} s (shown",
    "program without output": f"{relay.SILENT_S:g} s, then",
    "link quality": f"{link_quality.LOST_S:g} s",
    "unfinished handshake": f"{connection_limit.PATIENCE_S:g} s, {connection_limit.MOST_STRANGERS} at a time",
    "absent client": f"2 pulses; no node is judged by that silence, at most {liveness.MISSES} times",
    "start of a fork server": f"{local_engine.START_S:g} s",
    "missing nodes at the start": f"{cluster.GATHER_S:g} s",
    "links at the start": f"{gathering.LINK_S:g} s",
    "order to a node": f"{scheduler.ANSWER_S:g} s",
    "`preference` of a job": f"{preferences.PREFERENCE_S:g} s",
    "retained values": f"{retained_values.REPLAY_S:g} s",
    "declared RATIO": f"warning after {ratio_watch.SUSPECT_S:g} s, failure after {ratio_watch.BROKEN_S:g} s",
    "Broker or Pipeliner": f"{router_state.SILENCE_S:g} s",
    "Pipeliner that does not read": f"{router_state.SILENCE_S + router_state.PULSE_S:g} s",
    "lost worker process": f"{broker_registry.REPORT_S:g} s",
}


def table() -> dict[str, tuple[str, str]]:
    """Return detector -> limit, files."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## Failure detectors\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in section.splitlines() if row.startswith("|")][2:]
    return {detector: (limit, files) for detector, _, limit, files in rows}


def test_the_table_has_all_detectors() -> None:
    assert list(table()) == list(LIMITS)


@pytest.mark.parametrize("detector", LIMITS)
def test_a_limit_is_that_of_the_code(detector: str) -> None:
    limit, files = table()[detector]
    assert LIMITS[detector] in limit
    names = re.findall(r"`([^`]+)`", files)
    assert names
    assert all((ROOT / "src" / "fission" / name).is_file() for name in names)


def test_an_absent_client_is_one_of_two_pulses() -> None:
    """The only limit of the table without its own constant."""
    node = "n"
    for late, lost in ((1.9, True), (2.1, False)):
        machine = liveness.Liveness(1.0)
        machine.handle(liveness.Expect(node), 0.0)
        machine.handle(liveness.Pulse(node, 1), 0.0)
        now = 0.0
        while now < liveness.MISSES + 0.1:
            now += late  # the client checks this seldom; too long a pause looks the same as its own absence
            machine.handle(liveness.LivenessTick(), now)
        assert (machine.state(node) is liveness.LivenessState.LOST) is lost
