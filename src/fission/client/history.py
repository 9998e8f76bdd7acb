"""The event log of a run, read again: what a client has to know to go on where another one was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fission.client.event_log import EVENTS
from fission.errors import UserError
from fission.protocol.supervision import JobPlan, Story


@dataclass(frozen=True)
class History:
    """What an event log tells.

    Attributes:
        story: for supervision.
        addresses: what each life has told of where other machines reach it, by job and incarnation.
        ends: of jobs that have said that they ended: (incarnation, generation, last sqn) by pipe.
    """

    story: Story
    addresses: Mapping[tuple[int, int], Mapping[str, str]] = field(default_factory=dict)
    ends: Mapping[int, Mapping[int, tuple[int, int, int]]] = field(default_factory=dict)


def read_history(folder: Path, plans: Sequence[JobPlan]) -> History:
    """Read the event log of the run in a folder.

    A last line that was not written to its end is left out: what it tells had not been done yet.

    Raises:
        UserError: there is none, or it is of a network with other jobs.
    """
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").split("\n")[:-1]
    except OSError as why:
        raise UserError(f"there is no run to go on with: {folder / EVENTS}: {why.strerror or why}; start one without --resume") from None
    return _told(_entries(lines, folder), {plan.job: plan for plan in plans}, folder)


def _entries(lines: Iterable[str], folder: Path) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except ValueError:
            raise UserError(f"{folder / EVENTS}, line {number} is damaged; start the network anew, without --resume") from None


def _told(entries: Iterable[dict[str, Any]], plans: Mapping[int, JobPlan], folder: Path) -> History:
    lives: dict[int, tuple[int, str]] = {}
    finished: set[int] = set()
    generations: dict[int, int] = {}
    addresses: dict[tuple[int, int], Mapping[str, str]] = {}
    ends: dict[int, Mapping[int, tuple[int, int, int]]] = {}
    for entry in entries:
        what, job = entry["what"], int(entry.get("job", 0))
        if what in ("Launch", "Hello", "JobEnded", "Ended", "Reset") and job not in plans:
            raise UserError(
                f"the run in {folder} has a job {job}, which config.py has not (any more); start the network anew, without --resume"
            )
        if what == "Launch":
            lives[job] = (entry["incarnation"], entry["node"])
            ends.pop(job, None)
            _raise(generations, plans[job].part, entry["generation"])
        elif what == "Reset":
            _raise(generations, plans[job].part, entry["generation"])
        elif what == "Hello":
            addresses[job, entry["incarnation"]] = entry.get("addresses", {})
        elif what == "JobEnded" and entry["error"] is None:
            finished.add(job)
        elif what == "Ended":
            ends[job] = {int(pipe): (last[0], last[1], last[2]) for pipe, last in entry["ends"].items()}
        elif what == "Finish":
            raise UserError(f"the run in {folder} is over: {entry['reason']}; start the network anew, without --resume")
    return History(Story(lives, frozenset(finished), generations), addresses, ends)


def _raise(generations: dict[int, int], part: int, generation: int) -> None:
    generations[part] = max(generations.get(part, 0), generation)
