"""The network's state machine: the state of every job, and the response to every event.

Theory of operation
    Each job has its own state machine (`JobState`); all of them use the one table `TRANSITIONS`. A
    missing row is an illegal event: it raises an error with the history of that job and changes
    nothing. Events come in through `handle`, instructions go out; anything that the shell could not
    do comes back as an event. Events of an incarnation older than the announced one are fenced:
    they change nothing. A job that is launched gets a new incarnation, and every running neighbour
    is sent its new address; the neighbours replay. A source that cannot resume makes its part of
    the network (all jobs joined through non-ASYNC pipes) begin a new generation: every source of
    that part numbers from 1 again.

Known gaps
    Nodes are either up or not: their own state machine is `fission.protocol.liveness`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fission.core.groups import ANNOUNCED
from fission.errors import EXIT_FAILED, EXIT_NO_PLACE, EXIT_OK, AllocationError, LocalProtocolError
from fission.protocol.node_loss import ForeseenPlacement, foresee
from fission.protocol.outages import Outage, Outages
from fission.protocol.placement_view import PlacementView
from fission.protocol.restarts import AvoidedNodes, RestartPolicy
from fission.protocol.supervised_job import SupervisedJob, SupervisedJobs
from fission.protocol.supervision_messages import (
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
    JobRefused,
    JobState,
    Kill,
    Launch,
    NodeLost,
    NodeUp,
    Notify,
    Placed,
    Replayed,
    Reset,
    ResumedNetwork,
    Retry,
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
    "JobRefused",
    "JobState",
    "Kill",
    "Launch",
    "NodeLost",
    "NodeUp",
    "Notify",
    "Placed",
    "PlacementView",
    "Replayed",
    "Reset",
    "ResumedNetwork",
    "Retry",
    "Supervisor",
    "Tick",
    "Wire",
]

PENDING, STARTING, RUNNING, FAILED, FINISHED = JobState

#: Advice for the user when jobs wait for a place.
CURE = "start a lost node again, list another one in NODES, or raise max_jobs of one that is full"
#: What else helps where a group is missing that nodes announce.
FOUND_AT_START = (
    "a node is in {} if it finds such a device when the network starts: see there: fission audio devices, and fission node --announce"
)


class Supervisor:
    """Supervises one network.

    Pass it a view of the nodes and a `NodeUp` for every node, then call `start`, then pass it
    events.

    Attributes:
        over: whether `Finish` was returned; later events change nothing.
        reasons: by id of a job without a place, the reason why it has none.
    """

    def __init__(self, plans: Sequence[JobPlan], view: PlacementView, *, restart_window_s: float, allocation_timeout_s: float) -> None:
        """Prepare the supervisor.

        Args:
            plans: plans of all jobs.
            view: current view of the nodes.
            restart_window_s: RESTART_WINDOW of the config, in seconds.
            allocation_timeout_s: ALLOCATION_TIMEOUT of the config, in seconds.
        """
        self._jobs = SupervisedJobs(SupervisedJob(plan, RestartPolicy(plan.restarts, restart_window_s)) for plan in plans)
        self._view = view
        self._allocation_timeout_s = allocation_timeout_s
        self._up: list[str] = []
        self._old_incarnations: dict[str, list[tuple[int, int]]] = {}  # by lost node: (job, incarnation) that may still run there
        self._generations: dict[int, int] = {}  # by part
        self._outages = Outages(lambda job: self._jobs[job].plan.name)
        self._avoided = AvoidedNodes()
        self._now = 0.0  # time of the last event
        self._announced: set[int] = set()  # jobs without a place that were reported to the user, until they run
        self._started = False
        self.over = False
        self.reasons: dict[int, str] = {}

    # queries of the shell

    def state(self, job: int) -> JobState:
        """The state of the job."""
        return self._jobs[job].state

    def newest(self, job: int) -> tuple[int, str]:
        """The job's newest incarnation (0: none yet) and its current or last node."""
        one = self._jobs[job]
        return one.incarnation, one.node

    def placed_because(self, job: int) -> str:
        """Return why a job is on its node; empty: it stayed there when it was started again, or has none."""
        return self._jobs[job].reason

    def foresee_loss(self, node: str, now: float) -> list[ForeseenPlacement]:
        """Return what would happen to the jobs of a node if it were lost at this moment."""
        avoided = self._avoided.now(now)
        there = [one for one in map(self._jobs.__getitem__, self._jobs.on(node)) if one.state is not FINISHED]
        there.sort(key=lambda one: (-one.plan.priority, one.plan.job))
        taken = {name: self._jobs.on(name) for name in self._up if name not in avoided}
        return foresee(node, [one.plan.job for one in there], self._view, taken, avoided)

    def alive(self, job: int) -> bool:
        """Whether a process of the job was ordered and has not ended."""
        return self._jobs[job].alive

    @property
    def failovers(self) -> list[Failover]:
        """All reported failovers, in order."""
        return self._outages.failovers

    @property
    def due(self) -> float | None:
        """The latest time for the next `Tick`; None if nothing depends on time."""
        if self.over or not self._started:
            return None
        moments = [one.retry_at for one in self._jobs.within(FAILED)]
        moments += [one.waiting_since + self._allocation_timeout_s for one in self._jobs.within(PENDING)]
        if (again := self._avoided.due(self._up, self._now)) is not None and self._pending():
            moments.append(again)
        moments += self._outages.due
        return min(moments, default=None)

    # events

    def resume(self, network: ResumedNetwork) -> None:
        """Restore a network that ran under an earlier client. Call it before `start`.

        `start` is then passed the jobs that are gone too.
        """
        self._generations = dict(network.generations)
        for job, (incarnation, node) in network.incarnations.items():
            self._jobs.restore(self._jobs[job], incarnation, node, finished=job in network.finished)

    def start(self, now: float, missing: Collection[int] = ()) -> list[Instruction]:
        """Place and launch every job that does not run.

        The running jobs receive again what an earlier client may not have sent before it died:
        their current neighbours and the generation.

        Args:
            now: the current time.
            missing: ids of the jobs that should run and do not.
        """
        self._started, self._now = True, now
        lost = [self._jobs[job] for job in missing if self._jobs[job].state is RUNNING]
        if lost:
            moving = {one.plan.job: one.node for one in lost}
            died = "1 job has" if len(lost) == 1 else f"{len(lost)} jobs have"
            self._outages.begin(Outage("the client was away", f"{died} died meanwhile", now, moving))
        for one in lost:
            self._jobs.move(one, NodeLost, now)
            self._jobs.put(one, "")
        for one in self._jobs:
            one.waiting_since = now
        there = self._jobs.within(RUNNING)
        return [order for one in there for order in self._once_more(one)] + self._settle(now)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Process one event; return the instructions to carry out, in order.

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
            out += [Kill(job=job, node=event.node, incarnation=number) for job, number in self._old_incarnations.pop(event.node, ())]
        elif isinstance(event, NodeLost):
            self._on_node_lost(event, now)
        elif isinstance(event, (JobReady, JobEnded, JobRefused)):
            if event.job not in self._jobs:
                raise LocalProtocolError(f"there is no job {event.job}")
            one = self._jobs[event.job]
            if event.incarnation > one.incarnation:
                raise one.error(f"never had incarnation {event.incarnation}")
            if event.incarnation < one.incarnation or not one.alive:
                one.history.append(f"{now:.3f} fenced: {event}")
                return []
            if isinstance(event, JobReady):
                if one.state is STARTING:  # a hello may be repeated
                    self._jobs.move(one, JobReady, now)
                    one.ready_at = now
                    self._avoided.ready(one.node, one.ordered_at)
                    self._outages.runs(event.job, one.node, now)
                    self._announced.discard(event.job)
            elif isinstance(event, JobRefused):
                self._on_refused(one, event.cause, now)
            elif event.error is None:
                out += self._on_finished(one, now)
            else:
                out += self._on_failed(one, event, event.error, now)
        elif isinstance(event, Replayed):
            self._outages.replayed(event.job, event.incarnation, event.blocks)
        self._now = now
        return out + (self._settle(now) if self._started and not self.over else [])

    # inner workings

    def _on_node_lost(self, event: NodeLost, now: float) -> None:
        if event.node not in self._up:
            raise LocalProtocolError(f"node {event.node} is not up")
        self._up.remove(event.node)
        there = [self._jobs[job] for job in sorted(self._jobs.on(event.node))]
        lost = [one for one in there if one.state is not PENDING]
        self._old_incarnations[event.node] = [(one.plan.job, one.incarnation) for one in lost if one.alive]
        what = f"node {event.node} {'has left' if event.on_purpose else 'is lost'}"
        self._outages.begin(Outage(what, event.reason, now, {one.plan.job: event.node for one in lost}, event.on_purpose))
        for one in lost:
            self._jobs.move(one, NodeLost, now)
            one.waiting_since = now
            self._jobs.put(one, "")

    def _on_refused(self, one: SupervisedJob, cause: str, now: float) -> None:
        node = one.node
        self._jobs.move(one, JobRefused, now)
        self._avoided.refused(node, cause, now)
        if not self._outages.taken(one.plan.job):
            self._outages.begin(Outage(f"{one.plan.name} could not start on node {node}", cause, now, {one.plan.job: node}))
            one.waiting_since = now
        self._jobs.put(one, "")

    def _on_finished(self, one: SupervisedJob, now: float) -> list[Instruction]:
        self._jobs.move(one, Finished, now)
        self._outages.runs(one.plan.job, one.node, now)
        producers = ((pipe, peer) for pipe, peer in one.plan.inputs.items() if self._jobs[peer].alive)
        return [Close(job=peer, pipe=pipe) for pipe, peer in producers]

    def _on_failed(self, one: SupervisedJob, event: JobEnded, error: str, now: float) -> list[Instruction]:
        self._jobs.move(one, Failed, now)
        ran_s = 0.0 if one.ready_at is None else now - one.ready_at
        end = one.policy.failed(error, event.block, now, hopeless=event.hopeless, ran_s=ran_s)
        if end:
            self.over = True
            return [
                Notify(text=f"{one.plan.name} is not started again: {end}"),
                Finish(exit_code=EXIT_FAILED, reason=f"{one.plan.name} failed", error=error),
            ]
        one.retry_at = now + one.policy.delay_s
        if not self._outages.taken(event.job):
            why = error.strip().rpartition("\n")[2]
            self._outages.begin(Outage(f"{one.plan.name} died", why, now, {event.job: one.node}))
        return []

    def _settle(self, now: float) -> list[Instruction]:
        out: list[Instruction] = []
        if self._jobs.all_finished:
            self.over = True
            return [*self._report(now), Finish(exit_code=EXIT_OK, reason="finished")]
        for one in self._jobs.within(FAILED):
            if now >= one.retry_at:
                self._jobs.move(one, Retry, now)
                one.waiting_since = now
        launched = self._place_pending(now)
        out += self._orders(launched)
        for one in self._pending():
            if now >= one.waiting_since + self._allocation_timeout_s:
                self.over = True
                return [*out, Finish(exit_code=EXIT_NO_PLACE, reason=f"no place for {one.plan.name}", error=self._why_waiting())]
        return out + self._report(now) + self._waiting(now)

    def _pending(self) -> list[SupervisedJob]:
        """Return the jobs without a place; the first one gets the next place."""
        return sorted(self._jobs.within(PENDING), key=lambda one: (-one.plan.priority, one.plan.job))

    def _waiting(self, now: float) -> list[Instruction]:
        """Report the jobs that wait for a place, whenever there is a new one."""
        waiting = self._pending()
        new = {one.plan.job for one in waiting} - self._announced
        self._announced |= new
        if not new:
            return []
        left_s = min(one.waiting_since for one in waiting) + self._allocation_timeout_s - now
        limit = f"waiting up to {left_s:.3g} s for a place (ALLOCATION_TIMEOUT), then the network ends"
        reasons = " ".join(self.reasons[one.plan.job] for one in waiting)
        devices = "".join(f"; {FOUND_AT_START.format(group)}" for group in ANNOUNCED if f" {group}" in reasons)
        return [Notify(text=f"{self._why_waiting()}; {limit}; {CURE}{devices}")]

    def _why_waiting(self) -> str:
        """Return which jobs have no place, and why; jobs with the same reason are grouped."""
        together: dict[str, list[str]] = {}
        for one in self._pending():
            together.setdefault(self.reasons[one.plan.job].removeprefix(f"no place for {one.plan.name}: "), []).append(one.plan.name)
        return "; ".join(f"no place for {', '.join(names)}: {why}" for why, names in together.items())

    def _place_pending(self, now: float) -> list[SupervisedJob]:
        pending = self._pending()
        if not pending:
            return []
        launched = []
        avoided = self._avoided.now(now)
        taken = {node: self._jobs.on(node) for node in self._up if node not in avoided}
        places = self._view.round(taken, avoided)
        for one in pending:
            if one.node in taken:
                one.reason = ""  # a job that died on a healthy node is restarted there
            else:
                try:
                    node, one.reason = places.place(one.plan.job)
                except AllocationError as why:
                    self.reasons[one.plan.job] = str(why)
                    continue
                self._jobs.put(one, node)
            one.incarnation += 1
            one.ordered_at, one.ready_at = now, None
            one.total_restarts += one.incarnation > 1
            self._jobs.move(one, Placed, now)
            launched.append(one)
            self._outages.moved(one.plan.job, one.node, now)
        return launched

    def _orders(self, launched: Sequence[SupervisedJob]) -> list[Instruction]:
        out: list[Instruction] = []
        new = {one.plan.job for one in launched}
        for one in launched:
            if one.plan.source and not one.plan.resumable and one.incarnation > 1:
                out += self._new_generation(one, new)
        for one in launched:
            generation = self._generations.get(one.plan.part, 0)
            out.append(Launch(job=one.plan.job, node=one.node, incarnation=one.incarnation, generation=generation, reason=one.reason))
        for one in launched:
            producers = sum(peer not in new and self._jobs[peer].alive for peer in one.plan.inputs.values())
            self._outages.expect_replays(one.plan.job, one.incarnation, producers)
        for one in launched:
            for pipes in (one.plan.inputs, one.plan.outputs):
                for pipe, peer in pipes.items():
                    if peer not in new and self._jobs[peer].alive:
                        out.append(Wire(job=peer, pipe=pipe, peer=one.plan.job, incarnation=one.incarnation))
        return out

    def _new_generation(self, cause: SupervisedJob, new: set[int]) -> list[Instruction]:
        part = cause.plan.part
        generation = self._generations[part] = self._generations.get(part, 0) + 1
        return [
            Reset(job=one.plan.job, generation=generation)
            for one in self._jobs.within(STARTING, RUNNING)
            if one.plan.part == part and one.plan.job not in new
        ]

    def _once_more(self, one: SupervisedJob) -> list[Instruction]:
        """Return what this incarnation would know by now if its client had not died.

        Receiving it twice does no harm.
        """
        job, out = one.plan.job, list[Instruction]()
        if generation := self._generations.get(one.plan.part, 0):
            out.append(Reset(job=job, generation=generation))
        for pipe, peer in {**one.plan.inputs, **one.plan.outputs}.items():
            if self._jobs[peer].alive:
                out.append(Wire(job=job, pipe=pipe, peer=peer, incarnation=self._jobs[peer].incarnation))
            elif self._jobs[peer].state is FINISHED and pipe in one.plan.outputs:
                out.append(Close(job=job, pipe=pipe))
        return out

    def _report(self, now: float) -> list[Instruction]:
        return self._outages.report(now, {one.plan.job for one in self._pending()}, self._runs, over=self.over)

    def _runs(self, job: int, incarnation: int) -> bool:
        one = self._jobs[job]
        return one.incarnation == incarnation and one.alive
