"""What was lost and does not run again yet, and what the user hears of it.

One `Failover` is reported for each outage, when all that it took runs again. An outage that lasts is reported before that, by one
`Notify`: at once if some of its jobs have to wait for a place, else after `ANNOUNCE_S`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fission.protocol.supervision_messages import Failover, Instruction, Notify

#: Seconds that a failover is not reported because a producer has not said how much it sent again; arbitrary.
REPLAYED_S = 1.0
#: Seconds after which an outage is reported although its jobs do not run yet. Arbitrary: most have ended by then, and are one line.
ANNOUNCE_S = 1.0


@dataclass(slots=True)
class Outage:
    """Something that was lost.

    Attributes:
        what, why: as `Failover` has them.
        since: the moment of the loss.
        moving: node on which each job was that does not run again yet, by id.
        moves: where its jobs went, as texts, each with how often.
        on_purpose: whether it is no failure.
        replayed: blocks that producers sent again.
        ready_at: when all its jobs ran again.
        replays: how many producers have not said what they sent again, by job and incarnation.
        announced: whether the user knows of it.
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


class Outages:
    """All outages of a network that are not over.

    Attributes:
        failovers: those that are over, in order.
    """

    def __init__(self, name: Callable[[int], str]) -> None:
        """Args: name: of a job."""
        self._name = name
        self._outages: list[Outage] = []
        self.failovers: list[Failover] = []

    @property
    def due(self) -> list[float]:
        """Moments at which something is to be reported."""
        ready = [one.ready_at + REPLAYED_S for one in self._outages if one.ready_at is not None]
        return ready + [one.since + ANNOUNCE_S for one in self._outages if one.moving and not one.announced]

    def begin(self, outage: Outage) -> None:
        """Something was lost."""
        self._outages.append(outage)

    def taken(self, job: int) -> bool:
        """Whether a job is part of an outage."""
        return any(job in one.moving for one in self._outages)

    def moved(self, job: int, node: str) -> None:
        """A place was found for a job."""
        for one in self._outages:
            if job in one.moving:
                name = self._name(job)
                text = f"{name} -> {node}" if one.moving[job] != node else f"{name} again on {node}"
                one.moves[text] = one.moves.get(text, 0) + 1

    def runs(self, job: int) -> None:
        """A job runs again, or has ended for good."""
        for one in self._outages:
            one.moving.pop(job, None)

    def expect_replays(self, job: int, incarnation: int, producers: int) -> None:
        """So many producers will say what they sent again to this incarnation."""
        for one in self._outages:
            if job in one.moving and producers:
                one.replays[job, incarnation] = producers

    def replayed(self, job: int, incarnation: int, blocks: int) -> None:
        """A producer has said how much it sent again."""
        for one in self._outages:
            key = (job, incarnation)
            if key in one.replays:
                one.replayed += blocks
                one.replays[key] -= 1
                if not one.replays[key]:
                    del one.replays[key]

    def report(self, now: float, waiting: Collection[int], alive: Callable[[int, int], bool], *, over: bool) -> list[Instruction]:
        """Return what the user is to hear now.

        Args:
            now: the moment.
            waiting: jobs that have no place.
            alive: whether an incarnation of a job is the one that runs.
            over: whether the network is.
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
                failover = Failover(what=one.what, why=one.why, moves=moves, seconds=took_s, replayed=one.replayed)
                self.failovers.append(failover)
                found.append(failover)
        return found

    def _announcement(self, one: Outage) -> str:
        names = ", ".join(self._name(job) for job in sorted(one.moving))
        return f"{one.what}: {one.why}; not running yet: {names}"
