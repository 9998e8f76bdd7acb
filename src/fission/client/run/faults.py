"""The faults that `simulate` injects into its own nodes and jobs to demonstrate failover."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fission.adapters.local_engine import LocalEngine
from fission.errors import InternalError, UserError
from fission.ports import NodeName, Observer

#: Shortest and longest time, in seconds, for which chaos freezes a node, and after which a killed node comes back.
#: Arbitrary: around the five pulses that decide, at the default interval.
CHAOS_S = (0.1, 1.2)


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault to inject.

    Attributes:
        kind: "kill node", "kill job" or "cut".
        target: the node's name, or the job's id as text.
        at_s: seconds from the start of the injection.
        duration_s: seconds until the fault is undone.
    """

    kind: str
    target: str
    at_s: float
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Chaos:
    """Random faults; the same ``seed`` gives the same faults.

    Attributes:
        seed: seed of the random numbers.
        rate: faults per second.
    """

    seed: int
    rate: float


def parse_kill(text: str) -> InjectedFault:
    """Parse ``NODE@SECONDS`` or ``job:JOB@SECONDS``; `check_faults` accepts only ids as JOB.

    Raises:
        UserError: the text has another form.
    """
    found = re.fullmatch(r"(job:)?([^@]+)@(\d+(?:\.\d+)?)", text)
    if not found:
        raise UserError(f"--kill must be NODE@SECONDS or job:ID@SECONDS, as in 2@1.5 or job:3@0.5; it is {text!r}")
    return InjectedFault("kill job" if found[1] else "kill node", found[2], float(found[3]))


def parse_cut(text: str) -> InjectedFault:
    """Parse ``NODE@SECONDS+DURATION``.

    Raises:
        UserError: the text has another form.
    """
    found = re.fullmatch(r"([^@]+)@(\d+(?:\.\d+)?)\+(\d+(?:\.\d+)?)", text)
    if not found:
        raise UserError(f"--cut must be NODE@SECONDS+DURATION, as in 2@1.5+0.8; it is {text!r}")
    return InjectedFault("cut", found[1], float(found[2]), float(found[3]))


def parse_chaos(text: str) -> Chaos:
    """Parse ``SEED:RATE``.

    Raises:
        UserError: the text has another form.
    """
    found = re.fullmatch(r"(\d+):(\d+(?:\.\d+)?)", text)
    if not found or float(found[2]) <= 0:
        raise UserError(f"--chaos must be SEED:RATE, a whole number and faults per second above 0, as in 7:2; it is {text!r}")
    return Chaos(int(found[1]), float(found[2]))


def check_faults(faults: Sequence[InjectedFault], nodes: Sequence[str], jobs: Sequence[int]) -> None:
    """Check that every fault names an existing node or job.

    Raises:
        UserError: a fault names an unknown node or job.
    """
    for fault in faults:
        if fault.kind == "kill job":
            if not fault.target.isdecimal() or int(fault.target) not in jobs:
                raise UserError(f"--kill job:{fault.target}: there is no job {fault.target}; there are {', '.join(map(str, jobs))}")
        elif fault.target not in nodes:
            known = ", ".join(nodes) or "none; say how many with --nodes"
            raise UserError(f"node {fault.target!r} of --kill or --cut does not exist; nodes that can be lost: {known}")


class FaultInjector:
    """Injects the faults of one run."""

    def __init__(self, engine: LocalEngine, observer: Observer, nodes: Sequence[str], jobs: Sequence[int]) -> None:
        """Prepare the injector.

        Args:
            engine: engine of the run.
            observer: notified of each fault.
            nodes: names of the nodes that can be lost.
            jobs: ids of all jobs.
        """
        self._engine = engine
        self._observer = observer
        self._nodes = [NodeName(node) for node in nodes]
        self._jobs = list(jobs)

    async def run(self, faults: Sequence[InjectedFault], chaos: Chaos | None) -> None:
        """Inject all faults, with times counted from now; never returns with chaos."""
        work = [asyncio.create_task(self._do(fault)) for fault in faults]
        if chaos is not None:
            work.append(asyncio.create_task(self._inject(chaos)))
        try:
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()

    async def _do(self, fault: InjectedFault) -> None:
        await asyncio.sleep(fault.at_s)
        if fault.kind == "kill job":
            if self._engine.kill_job(int(fault.target)):
                self._observer.notice(f"killed job {fault.target}")
        elif fault.kind == "kill node":
            if self._engine.kill_node(NodeName(fault.target)):
                self._observer.notice(f"killed node {fault.target}")
        else:
            self._observer.notice(f"node {fault.target} frozen for {fault.duration_s:.2f} s")
            self._engine.freeze(NodeName(fault.target))
            try:
                await asyncio.sleep(fault.duration_s)
            finally:
                self._engine.thaw(NodeName(fault.target))

    async def _inject(self, chaos: Chaos) -> None:
        self._observer.notice(
            f"chaos with seed {chaos.seed}: {chaos.rate:g} faults a second; repeat them with --chaos {chaos.seed}:{chaos.rate:g}"
        )
        rng = random.Random(chaos.seed)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(rng.expovariate(chaos.rate))
                kind = rng.choice(["kill job", "cut", "kill node"] if len(self._nodes) > 1 else ["kill job"])
                target = str(rng.choice(self._jobs if kind == "kill job" else self._nodes))
                task = asyncio.create_task(self.inject(InjectedFault(kind, target, 0.0, rng.uniform(*CHAOS_S))))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def inject(self, fault: InjectedFault) -> None:
        """Inject one fault now, and undo it after its duration."""
        with contextlib.suppress(InternalError):
            await self._do(fault)
            if fault.kind == "kill node":
                await asyncio.sleep(fault.duration_s)
                await self._engine.revive(NodeName(fault.target))
