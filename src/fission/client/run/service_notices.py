"""What a client reports to its service manager: that the network runs, what it does, and that its loop works."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from fission.client.run.coordinator import Coordinator
from fission.posix.service_manager import ServiceManager
from fission.protocol.supervision import JobState

#: Seconds between two looks at the network; arbitrary.
LOOK_S = 1.0
#: Names in one line; arbitrary.
NAMES = 5


async def report_to(manager: ServiceManager, coordinator: Coordinator) -> None:
    """Report the state of a network to the service manager until cancelled."""
    said, ready = "", False
    while True:
        states = {job.name: coordinator.state(number) for number, job in coordinator.jobs.items()}
        nodes = coordinator.nodes()
        text = status_line(states, [node.name for node in nodes if not coordinator.up(node.name)], len(nodes))
        if text != said:
            said = text
            manager.status(text)
        if not ready and coordinator.all_started.is_set() and runs(states.values()):
            ready = True
            manager.ready()
        await asyncio.sleep(LOOK_S)


def runs(states: Iterable[JobState]) -> bool:
    """Return whether a network with jobs in these states runs."""
    return all(state in (JobState.RUNNING, JobState.FINISHED) for state in states)


def status_line(states: Mapping[str, JobState], away: Sequence[str], nodes: int) -> str:
    """Return what a network does, in one line.

    Args:
        states: the state of each job, by its name.
        away: names of the nodes that are not up.
        nodes: number of all nodes.
    """
    of = {state: [name for name, its in states.items() if its is state] for state in JobState}
    parts = [f"{len(of[JobState.RUNNING])} of {len(states)} jobs run on {nodes - len(away)} of {nodes} nodes"]
    for state, text in ((JobState.PENDING, "waiting for a place"), (JobState.FAILED, "waiting for the next start")):
        parts += [f"{text}: {_listed(of[state])}"] if of[state] else []
    parts += [f"finished: {len(of[JobState.FINISHED])}"] if of[JobState.FINISHED] else []
    parts += [f"nodes away: {_listed(away)}"] if away else []
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
