"""Tracks outages until their jobs run again, and decides what is reported to the user.

One `Failover` is reported for each outage, when all of its jobs run again. An outage that lasts is
announced before that by one `Notify`: at once if some of its jobs have to wait for a place, else
after `ANNOUNCE_S`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fission.protocol.supervision_messages import Failover, FailoverStep, Instruction, Notify

#: Seconds for which the report of a failover waits until producers have reported how much they replayed. Arbitrary.
REPLAYED_S = 1.0
#: Seconds after which an outage is announced although its jobs do not run yet. Arbitrary: most have ended by then, and take one line.
ANNOUNCE_S = 1.0
#: Steps of a failover that are kept, the newest; arbitrary: those of 100 jobs that are placed once, or of one that cannot start.
MOST_STEPS = 200


@dataclass(slots=True)
class Outage:
    """An outage: the loss of a node or of jobs.

    Attributes:
        what: as in `Failover`.
        why: as in `Failover`.
        since: time of the loss, in seconds.
        moving: previous node of each job that does not run again yet, by id.
        on_purpose: whether the loss is intended, and therefore not a failure.
        moves: moves of its jobs, as texts, each with the number of times.
        replayed: number of blocks that producers have replayed.
        ready_at: time at which all its jobs ran again, in seconds; None before that.
        replays: number of producers that have not reported what they replayed, by job and
            incarnation.
        announced: whether the user has been notified of it.
        steps: what has happened to its jobs, in order.
        lost: previous node of each of its jobs, by id.
    """

    what: str
    why: str
    since: float
    moving: dict[int, str]
    on_purpose: bool = False
    moves: dict[str, int] = field(default_factory=dict)
    replayed: int = 0
    ready_at: float | None = None
    replays: dict[tuple[int, int], int] = field(default_factory=dict)
    announced: bool = False
    steps: list[FailoverStep] = field(default_factory=list)
    lost: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        self.lost = dict(self.moving)


class Outages:
    """All current outages of a network.

    Attributes:
        failovers: failovers of past outages, in order.
    """

    def __init__(self, name: Callable[[int], str]) -> None:
        """Begin without outages.

        Args:
            name: returns the name of a job.
        """
        self._name = name
        self._outages: list[Outage] = []
        self.failovers: list[Failover] = []

    @property
    def due(self) -> list[float]:
        """Times at which something must be reported."""
        ready = [one.ready_at + REPLAYED_S for one in self._outages if one.ready_at is not None]
        return ready + [one.since + ANNOUNCE_S for one in self._outages if one.moving and not one.announced]

    def begin(self, outage: Outage) -> None:
        """Register an outage."""
        self._outages.append(outage)

    def taken(self, job: int) -> bool:
        """Whether a job is part of an outage."""
        return any(job in one.moving for one in self._outages)

    def moved(self, job: int, node: str, now: float) -> None:
        """Register that a place was found for a job."""
        for one in self._outages:
            if job in one.moving:
                name = self._name(job)
                text = f"{name} -> {node}" if one.moving[job] != node else f"{name} again on {node}"
                one.moves[text] = one.moves.get(text, 0) + 1
                one.steps = [*one.steps, FailoverStep(what="job placed", at=now, job=job, node=node)][-MOST_STEPS:]

    def runs(self, job: int, node: str, now: float) -> None:
        """Register that a job runs again, or has ended for good."""
        for one in self._outages:
            if one.moving.pop(job, None) is not None:
                one.steps = [*one.steps, FailoverStep(what="job runs again", at=now, job=job, node=node)][-MOST_STEPS:]

    def expect_replays(self, job: int, incarnation: int, producers: int) -> None:
        """Register how many producers will report what they have replayed to an incarnation."""
        for one in self._outages:
            if job in one.moving and producers:
                one.replays[job, incarnation] = producers

    def replayed(self, job: int, incarnation: int, blocks: int) -> None:
        """Register the number of blocks that a producer has replayed."""
        for one in self._outages:
            key = (job, incarnation)
            if key in one.replays:
                one.replayed += blocks
                one.replays[key] -= 1
                if not one.replays[key]:
                    del one.replays[key]

    def report(self, now: float, waiting: Collection[int], alive: Callable[[int, int], bool], *, over: bool) -> list[Instruction]:
        """Return what must be reported to the user now.

        Args:
            now: current time, in seconds.
            waiting: jobs that have no place.
            alive: returns whether an incarnation of a job is the one that runs.
            over: whether the network has ended.
        """
        found: list[Instruction] = []
        for one in list(self._outages):
            if one.moving:
                if not one.announced and (now >= one.since + ANNOUNCE_S or any(job in waiting for job in one.moving)):
                    one.announced = True
                    found.append(Notify(text=self._announcement(one), warning=not one.on_purpose))
                continue
            if one.ready_at is None:
                one.ready_at = now
            if over or now >= one.ready_at + REPLAYED_S or not any(alive(*key) for key in one.replays):
                self._outages.remove(one)
                took_s = one.ready_at - one.since
                moves = tuple(text if count == 1 else f"{text} ({count} times)" for text, count in one.moves.items())
                failover = Failover(
                    what=one.what,
                    why=one.why,
                    moves=moves,
                    seconds=took_s,
                    replayed=one.replayed,
                    since=one.since,
                    node=", ".join(dict.fromkeys(one.lost.values())),
                    jobs=tuple(one.lost),
                    steps=tuple(one.steps),
                )
                self.failovers.append(failover)
                found.append(failover)
        return found

    def _announcement(self, one: Outage) -> str:
        names = ", ".join(self._name(job) for job in sorted(one.moving))
        return f"{one.what}: {one.why}; not running yet: {names}"
