"""The event log of a run, read again: the state from which a new client continues the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fission import durable
from fission.client.folders.run_folders import EVENTS
from fission.errors import UserError
from fission.protocol.supervision import JobPlan, ResumedNetwork

#: What the user can do about a damaged file of a run.
CURE = "restore the file from a copy, or start the network again, without --resume"


@dataclass(frozen=True)
class ResumeState:
    """The state of a run according to its event log.

    Attributes:
        network: state for supervision.
        addresses: where other machines reach each incarnation, as it has reported, by
            (job, incarnation).
        ends: by job that has reported its end, and by pipe: (incarnation, generation, last sqn).
        stored: ids of the jobs that have stored a snapshot.
        torn_bytes: bytes of an incomplete entry at the end of the log.
    """

    network: ResumedNetwork
    addresses: Mapping[tuple[int, int], Mapping[str, str]] = field(default_factory=dict)
    ends: Mapping[int, Mapping[int, tuple[int, int, int]]] = field(default_factory=dict)
    stored: frozenset[int] = frozenset()
    torn_bytes: int = 0


def read_history(folder: Path, plans: Sequence[JobPlan]) -> ResumeState:
    """Read the event log of the run in a folder.

    A torn end is left out: what it reports had not been done yet.

    Raises:
        UserError: there is no log, it is damaged, or it belongs to a network with other jobs.
    """
    path = folder / EVENTS
    try:
        entries, good_bytes = durable.sealed_lines(path)
        torn_bytes = path.stat().st_size - good_bytes
    except durable.DamagedFileError as why:
        raise UserError(f"{path} is damaged: {why.what}; {CURE}") from None
    except OSError as why:
        raise UserError(f"there is no run to resume: {path}: {why.strerror or why}; start one without --resume") from None
    if not entries:
        raise UserError(f"{path} is damaged, or of another version of FISSION: it has no complete line; {CURE}")
    try:
        history = _from_entries(entries, {plan.job: plan for plan in plans}, folder)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as why:
        raise UserError(f"{path} is of another version of FISSION ({type(why).__name__}: {why}); {CURE}") from None
    return replace(history, torn_bytes=torn_bytes)


def _from_entries(entries: Iterable[dict[str, Any]], plans: Mapping[int, JobPlan], folder: Path) -> ResumeState:
    incarnations: dict[int, tuple[int, str]] = {}
    finished: set[int] = set()
    generations: dict[int, int] = {}
    addresses: dict[tuple[int, int], Mapping[str, str]] = {}
    ends: dict[int, Mapping[int, tuple[int, int, int]]] = {}
    stored: set[int] = set()
    for entry in entries:
        what, job = entry["what"], int(entry.get("job", 0))
        if what in ("Launch", "Hello", "JobEnded", "Ended", "Reset") and job not in plans:
            raise UserError(
                f"the run in {folder} has a job {job}, which config.py does not have; start the network again, without --resume"
            )
        if what == "Launch":
            incarnations[job] = (entry["incarnation"], entry["node"])
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
        elif what == "Stored":
            stored.add(job)
        elif what == "Finish":
            raise UserError(f"the run in {folder} is over: {entry['reason']}; start the network again, without --resume")
    return ResumeState(ResumedNetwork(incarnations, frozenset(finished), generations), addresses, ends, frozenset(stored))


def _raise(generations: dict[int, int], part: int, generation: int) -> None:
    generations[part] = max(generations.get(part, 0), generation)
