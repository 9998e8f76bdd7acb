"""The event log of a run, read again: the state from which a new client continues the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fission import durable
from fission.client.folders.run_folders import EVENTS
from fission.errors import EXIT_OK, UserError
from fission.protocol.resumption import RunRecord
from fission.protocol.supervision import JobPlan, ResumedNetwork

#: What the user can do about a damaged file of a run.
CURE = "restore the file from a copy, or start the network again, without --resume (fission NETWORK run)"
#: What the log says where a new client continued the run; an end noted before it does not count.
RESUMED = "Resumed"


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


def read_record(folder: Path) -> RunRecord:
    """Return how far the run in a folder came, by its event log.

    Raises:
        UserError: there is no log, or it is damaged.
    """
    path = folder / EVENTS
    entries, _ = _entries(path)
    began, end = False, None
    try:
        for entry in entries:
            began = began or entry["what"] == "Launch"
            end = _end(entry, end)
        return RunRecord(began) if end is None else RunRecord(began, int(end["exit_code"]), str(end["reason"]))
    except (KeyError, TypeError, ValueError) as why:
        raise _other_version(path, why) from None


def read_history(folder: Path, plans: Sequence[JobPlan], *, failed: bool = False) -> ResumeState:
    """Read the event log of the run in a folder.

    A torn end is left out: what it reports had not been done yet.

    Args:
        folder: the folder of the run.
        plans: the jobs of the network.
        failed: whether a network that has failed, or had no place for a job, may continue.

    Raises:
        UserError: there is no log, it is damaged, it belongs to a network with other jobs, or the
            network is over.
    """
    path = folder / EVENTS
    entries, torn_bytes = _entries(path)
    try:
        history, end = _from_entries(entries, {plan.job: plan for plan in plans}, folder)
        if end is not None and not (failed and end["exit_code"] != EXIT_OK):
            other = " or continue it with --resume-or-start" if end["exit_code"] != EXIT_OK else ""
            raise UserError(f"the run in {folder} is over: {end['reason']}; start the network again, without --resume{other}")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as why:
        raise _other_version(path, why) from None
    return replace(history, torn_bytes=torn_bytes)


def _entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a log, and the number of bytes of a torn one at its end."""
    try:
        entries, good_bytes = durable.sealed_lines(path)
        torn_bytes = path.stat().st_size - good_bytes
    except durable.DamagedFileError as why:
        raise UserError(f"{path} is damaged: {why.what}; {CURE}") from None
    except OSError as why:
        raise UserError(f"there is no run to resume: {path}: {why.strerror or why}; start one without --resume") from None
    if not entries:
        raise UserError(f"{path} is damaged, or of another version of FISSION: it has no complete line; {CURE}")
    return entries, torn_bytes


def _other_version(path: Path, why: Exception) -> UserError:
    return UserError(f"{path} is of another version of FISSION ({type(why).__name__}: {why}); {CURE}")


def _end(entry: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the entry with which the network ended, after one more entry; None: it has not ended."""
    return entry if entry["what"] == "Finish" else None if entry["what"] == RESUMED else before


def _from_entries(
    entries: Iterable[dict[str, Any]], plans: Mapping[int, JobPlan], folder: Path
) -> tuple[ResumeState, dict[str, Any] | None]:
    incarnations: dict[int, tuple[int, str]] = {}
    finished: set[int] = set()
    generations: dict[int, int] = {}
    addresses: dict[tuple[int, int], Mapping[str, str]] = {}
    ends: dict[int, Mapping[int, tuple[int, int, int]]] = {}
    stored: set[int] = set()
    end: dict[str, Any] | None = None
    for entry in entries:
        what, job = entry["what"], int(entry.get("job", 0))
        end = _end(entry, end)
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
    return ResumeState(ResumedNetwork(incarnations, frozenset(finished), generations), addresses, ends, frozenset(stored)), end


def _raise(generations: dict[int, int], part: int, generation: int) -> None:
    generations[part] = max(generations.get(part, 0), generation)
