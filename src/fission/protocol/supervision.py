"""The network's state machine: where every job is, and what is to be done when something happens to it.

Theory of operation
    One machine a job (`JobState`), all with the one table `TRANSITIONS`; a row that is missing is an illegal event, which raises
    with the story of that job and changes nothing. Events come in through `handle`, instructions go out; whatever the shell
    could not do comes back as an event. Events of an older life than the one announced are fenced off: they change nothing.
    A job that is launched gets a new incarnation, and every living neighbour is told its new address; the neighbours replay.
    A source that cannot resume makes its part of the network (all that is joined through non-ASYNC pipes) begin a new
    generation: every source of that part numbers from 1 again.

Known gaps
    Nodes are up or not: their own machine is `fission.protocol.liveness`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fission.errors import EXIT_FAILED, EXIT_NO_PLACE, EXIT_OK, AllocationError, LocalProtocolError
from fission.protocol.orders import (
    TRANSITIONS,
    Close,
    Event,
    Failed,
    Failover,
    Finish,
    Finished,
    Instruction,
    JobEnded,
    JobEvent,
    JobPlan,
    JobReady,
    JobState,
    Kill,
    Launch,
    NodeLost,
    NodeUp,
    Placed,
    Replayed,
    Reset,
    Retry,
    Story,
    Tick,
    Wire,
)

__all__ = [
    "TRANSITIONS",
    "Close",
    "Event",
    "Failed",
    "Failover",
    "Finish",
    "Finished",
    "Instruction",
    "JobEnded",
    "JobEvent",
    "JobPlan",
    "JobReady",
    "JobState",
    "Kill",
    "Launch",
    "NodeLost",
    "NodeUp",
    "Placed",
    "Placer",
    "Replayed",
    "Reset",
    "Retry",
    "Story",
    "Supervisor",
    "Tick",
    "Wire",
]

PENDING, STARTING, RUNNING, FAILED, FINISHED = JobState

#: Seconds before the second, third, ... restart of a job within RESTART_WINDOW; the first one comes at once. Arbitrary.
BACK_OFF_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
#: Seconds that a failover is not told because a producer has not said how much it sent again; arbitrary.
REPLAYED_S = 1.0
#: Events that are kept for each job's story; arbitrary.
STORY = 40

#: job, the nodes that are up with the jobs on each -> (node, reason in words); raises AllocationError.
Placer: TypeAlias = Callable[[int, Mapping[str, frozenset[int]]], "tuple[str, str]"]


@dataclass(slots=True)
class _Job:
    plan: JobPlan
    state: JobState = PENDING
    node: str = ""
    incarnation: int = 0
    waiting_since: float = 0.0
    retry_at: float = 0.0
    failures: deque[float] = field(default_factory=deque)
    last_failure: tuple[str, int] = ("", 0)
    total_restarts: int = 0
    story: deque[str] = field(default_factory=lambda: deque(maxlen=STORY))

    @property
    def alive(self) -> bool:
        return self.state in (STARTING, RUNNING)


@dataclass(slots=True)
class _Outage:
    what: str
    why: str
    since: float
    moving: dict[int, str]
    moves: list[str] = field(default_factory=list)
    replayed: int = 0
    ready_at: float | None = None  # when everything it took ran again
    replays: dict[tuple[int, int], int] = field(default_factory=dict)  # how many producers of a life have not told what they sent again


class Supervisor:
    """Decides for one network. Give it `NodeUp` for every node, then `start`, then events.

    Attributes:
        over: whether `Finish` was given; every later event changes nothing.
        failovers: all that were told, in order.
    """

    def __init__(self, plans: Sequence[JobPlan], place: Placer, *, restart_window_s: float, allocation_timeout_s: float) -> None:
        """Args: plans: all jobs. place: finds a node. The rest as the config says."""
        self._jobs = {plan.job: _Job(plan) for plan in plans}
        self._place = place
        self._restart_window_s = restart_window_s
        self._allocation_timeout_s = allocation_timeout_s
        self._up: list[str] = []
        self._old_lives: dict[str, list[tuple[int, int]]] = {}  # by lost node: (job, incarnation) that may still run there
        self._generations: dict[int, int] = {}  # by part
        self._outages: list[_Outage] = []
        self._reasons: dict[int, str] = {}
        self._started = False
        self.over = False
        self.failovers: list[Failover] = []

    # what the shell asks

    def state(self, job: int) -> JobState:
        """Where the job is."""
        return self._jobs[job].state

    def life(self, job: int) -> tuple[int, str]:
        """The job's newest incarnation (0: none yet) and the node it is or was on."""
        one = self._jobs[job]
        return one.incarnation, one.node

    def alive(self, job: int) -> bool:
        """Whether a process of the job was ordered and has not ended."""
        return self._jobs[job].alive

    def restarts(self, job: int) -> int:
        """How many lives after the first one were ordered."""
        return self._jobs[job].total_restarts

    def story(self, job: int) -> list[str]:
        """What happened to the job, oldest first."""
        return list(self._jobs[job].story)

    @property
    def due(self) -> float | None:
        """The moment at which `Tick` is to come at the latest; None if nothing depends on time."""
        moments = [one.retry_at for one in self._jobs.values() if one.state is FAILED]
        moments += [one.waiting_since + self._allocation_timeout_s for one in self._jobs.values() if one.state is PENDING]
        moments += [outage.ready_at + REPLAYED_S for outage in self._outages if outage.ready_at is not None]
        return None if self.over or not self._started else min(moments, default=None)

    # what happens

    def resume(self, story: Story) -> None:
        """Before `start`: the network ran before, under a client that is gone. `start` is told which of its jobs are gone too."""
        self._generations = dict(story.generations)
        for job, (incarnation, node) in story.lives.items():
            one = self._jobs[job]
            one.state = FINISHED if job in story.finished else RUNNING
            one.incarnation, one.node, one.total_restarts = incarnation, node, incarnation - 1
            one.story.append(f"life {incarnation} on node {node}: {one.state.name}, before the client came back")

    def start(self, now: float, missing: Collection[int] = ()) -> list[Instruction]:
        """Place and launch everything that does not run; ``missing``: jobs that should, by the story, and do not.

        The others are told once more what an earlier client may have died over: who is at the other ends, and the generation.
        """
        self._started = True
        lost = [self._jobs[job] for job in missing if self._jobs[job].state is RUNNING]
        if lost:
            moving = {one.plan.job: one.node for one in lost}
            self._outages.append(_Outage("the client was away", f"{len(lost)} jobs have died meanwhile", now, moving))
        for one in lost:
            self._move(one, NodeLost, now)
            one.node = ""
        for one in self._jobs.values():
            one.waiting_since = now
        there = [one for one in self._jobs.values() if one.state is RUNNING]
        return [order for one in there for order in self._once_more(one)] + self._settle(now)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event; return what is to be done, in this order.

        Raises:
            LocalProtocolError: the event is impossible; nothing has changed.
        """
        if self.over:
            return []
        out: list[Instruction] = []
        if isinstance(event, NodeUp):
            if event.node in self._up:
                raise LocalProtocolError(f"node {event.node} is up already")
            self._up.append(event.node)
            out += [Kill(job=job, node=event.node, incarnation=life) for job, life in self._old_lives.pop(event.node, ())]
        elif isinstance(event, NodeLost):
            self._on_node_lost(event, now)
        elif isinstance(event, (JobReady, JobEnded)):
            if event.job not in self._jobs:
                raise LocalProtocolError(f"there is no job {event.job}")
            one = self._jobs[event.job]
            if event.incarnation > one.incarnation:
                raise LocalProtocolError(f"{one.plan.name}: life {event.incarnation} was never ordered\n" + "\n".join(one.story))
            if event.incarnation < one.incarnation or not one.alive:
                one.story.append(f"{now:.3f} fenced: {event}")
                return []
            if isinstance(event, JobReady):
                if one.state is STARTING:  # a hello may be repeated
                    self._move(one, JobReady, now)
                    self._on_ready(event.job)
            else:
                out += self._on_ended(one, event, now)
        elif isinstance(event, Replayed):
            for outage in self._outages:
                key = (event.job, event.incarnation)
                if key in outage.replays:
                    outage.replayed += event.blocks
                    outage.replays[key] -= 1
                    if not outage.replays[key]:
                        del outage.replays[key]
        return out + (self._settle(now) if self._started and not self.over else [])

    # inner workings

    def _move(self, one: _Job, what: JobEvent, now: float) -> None:
        key = (one.state, what)
        if key not in TRANSITIONS:
            raise LocalProtocolError(f"{one.plan.name} is {one.state.name}: {what.__name__} is illegal\n" + "\n".join(one.story))
        one.state = TRANSITIONS[key]
        one.story.append(f"{now:.3f} {what.__name__}: {one.state.name}, life {one.incarnation}, node {one.node or '-'}")

    def _on_node_lost(self, event: NodeLost, now: float) -> None:
        if event.node not in self._up:
            raise LocalProtocolError(f"node {event.node} is not up")
        self._up.remove(event.node)
        lost = [one for one in self._jobs.values() if one.node == event.node and one.state not in (PENDING, FINISHED)]
        self._old_lives[event.node] = [(one.plan.job, one.incarnation) for one in lost if one.alive]
        self._outages.append(_Outage(f"node {event.node} is lost", event.reason, now, {one.plan.job: event.node for one in lost}))
        for one in lost:
            self._move(one, NodeLost, now)
            one.waiting_since = now
            one.node = ""

    def _on_ended(self, one: _Job, event: JobEnded, now: float) -> list[Instruction]:
        if event.error is None:
            self._move(one, Finished, now)
            for outage in self._outages:
                outage.moving.pop(event.job, None)
            producers = ((pipe, peer) for pipe, peer in one.plan.inputs.items() if self._jobs[peer].alive)
            return [Close(job=peer, pipe=pipe) for pipe, peer in producers]
        self._move(one, Failed, now)
        one.failures.append(now)
        while now - one.failures[0] > self._restart_window_s:
            one.failures.popleft()
        # a job that gets its inputs again and fails at the same one in the same way would do so for ever
        again = not one.plan.source and event.block > 0 and one.last_failure == (event.error, event.block)
        one.last_failure = event.error, event.block
        if again or event.hopeless or len(one.failures) > one.plan.restarts:
            self.over = True
            return [Finish(exit_code=EXIT_FAILED, reason=f"{one.plan.name} failed", error=event.error)]
        one.retry_at = now + BACK_OFF_S[min(len(one.failures), len(BACK_OFF_S)) - 1]
        why = event.error.strip().rpartition("\n")[2]
        if all(event.job not in outage.moving for outage in self._outages):
            self._outages.append(_Outage(f"{one.plan.name} died", why, now, {event.job: one.node}))
        return []

    def _settle(self, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        if all(one.state is FINISHED for one in self._jobs.values() if one.plan.required):
            self.over = True
            return [*self._tell(now), Finish(exit_code=EXIT_OK, reason="finished")]
        for one in self._jobs.values():
            if one.state is FAILED and now >= one.retry_at:
                self._move(one, Retry, now)
                one.waiting_since = now
        launched = self._place_pending(now)
        out += self._orders(launched)
        for one in self._jobs.values():
            if one.state is PENDING and now >= one.waiting_since + self._allocation_timeout_s:
                self.over = True
                why = "; ".join(self._reasons[job] for job in sorted(self._reasons) if self._jobs[job].state is PENDING)
                return [*out, Finish(exit_code=EXIT_NO_PLACE, reason=f"no place for {one.plan.name}", error=why)]
        return out + self._tell(now)

    def _place_pending(self, now: float) -> list[_Job]:
        launched = []
        waiting = sorted((one for one in self._jobs.values() if one.state is PENDING), key=lambda one: (-one.plan.priority, one.plan.job))
        for one in waiting:
            # who has died on a healthy node keeps its place there
            placed = [other for other in self._jobs.values() if other is not one and other.state is not FINISHED]
            taken = {node: frozenset(other.plan.job for other in placed if other.node == node) for node in self._up}
            try:
                # a job that died on a healthy node is restarted there
                node = one.node if one.node in self._up else self._place(one.plan.job, taken)[0]
            except AllocationError as why:
                self._reasons[one.plan.job] = str(why)
                continue
            one.node = node
            one.incarnation += 1
            one.total_restarts += one.incarnation > 1
            self._move(one, Placed, now)
            launched.append(one)
            for outage in self._outages:
                if one.plan.job in outage.moving:
                    old = outage.moving[one.plan.job]
                    outage.moves.append(f"{one.plan.name} -> {node}" if old != node else f"{one.plan.name} again on {node}")
        return launched

    def _orders(self, launched: Sequence[_Job]) -> list[Instruction]:
        out: list[Instruction] = []
        new = {one.plan.job for one in launched}
        for one in launched:
            if one.plan.source and not one.plan.resumable and one.incarnation > 1:
                out += self._new_generation(one, new)
        for one in launched:
            generation = self._generations.get(one.plan.part, 0)
            out.append(Launch(job=one.plan.job, node=one.node, incarnation=one.incarnation, generation=generation))
        for outage in self._outages:
            for one in launched:
                if one.plan.job in outage.moving:
                    tellers = sum(peer not in new and self._jobs[peer].alive for peer in one.plan.inputs.values())
                    if tellers:
                        outage.replays[one.plan.job, one.incarnation] = tellers
        for one in launched:
            for pipes in (one.plan.inputs, one.plan.outputs):
                for pipe, peer in pipes.items():
                    if peer not in new and self._jobs[peer].alive:
                        out.append(Wire(job=peer, pipe=pipe, peer=one.plan.job, incarnation=one.incarnation))
        return out

    def _new_generation(self, cause: _Job, new: set[int]) -> list[Instruction]:
        part = cause.plan.part
        generation = self._generations[part] = self._generations.get(part, 0) + 1
        return [
            Reset(job=one.plan.job, generation=generation)
            for one in self._jobs.values()
            if one.plan.part == part and one.alive and one.plan.job not in new
        ]

    def _once_more(self, one: _Job) -> list[Instruction]:
        """What a life has been told by now, if the client that ordered it lived long enough; hearing it twice does no harm."""
        job, out = one.plan.job, list[Instruction]()
        if generation := self._generations.get(one.plan.part, 0):
            out.append(Reset(job=job, generation=generation))
        for pipe, peer in {**one.plan.inputs, **one.plan.outputs}.items():
            if self._jobs[peer].alive:
                out.append(Wire(job=job, pipe=pipe, peer=peer, incarnation=self._jobs[peer].incarnation))
            elif self._jobs[peer].state is FINISHED and pipe in one.plan.outputs:
                out.append(Close(job=job, pipe=pipe))
        return out

    def _on_ready(self, job: int) -> None:
        for outage in self._outages:
            outage.moving.pop(job, None)

    def _tell(self, now: float) -> list[Instruction]:
        told: list[Instruction] = []
        for outage in list(self._outages):
            if outage.moving:
                continue
            if outage.ready_at is None:
                outage.ready_at = now
            lives = {key for key in outage.replays if self._jobs[key[0]].incarnation == key[1] and self._jobs[key[0]].alive}
            if not lives or now >= outage.ready_at + REPLAYED_S or self.over:
                self._outages.remove(outage)
                took_s = outage.ready_at - outage.since
                failover = Failover(what=outage.what, why=outage.why, moves=tuple(outage.moves), seconds=took_s, replayed=outage.replayed)
                self.failovers.append(failover)
                told.append(failover)
        return told
