"""A small world around the Router's decisions, in one thread.

`RouterApi` and the Pipeliners' decisions are real, the processes are modelled. In random order,
pipelines are added, cancelled and run again; Pipeliners ask, lose requests and answers, and die;
processes begin, finish, raise and die; Brokers report late; the Router restarts. After every step
`World.check` looks for forbidden states. `World.heal` then lets everything end.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.pipelines import Job, Pipeline
from fission.pipelines.pipeliner import Pipeliner
from fission.pipelines.router_api import RouterApi
from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.router_to_broker import KillJobs, RouterAbout
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeReply, UnknownPipeliner
from fission.protocol.messages.pipelines.wire import convert, decode_object, encode
from fission.protocol.pipeline_records import Task, TaskEnd

PROCESSES = ("tcp://w0", "tcp://w1", "tcp://w2")
Key = tuple[str, int, int]


class Tasks:
    """The cluster: which tasks exist, and which process runs which task."""

    def __init__(self) -> None:
        self.tasks: dict[Key, Task] = {}
        self.running: dict[str, Key] = {}  # by process; a forgotten task may still run
        self.ordered: set[Key] = set()
        self.may_run: Callable[[Task], None] = lambda task: None

    def run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            key = (task.pipeline, task.job, task.attempt)
            assert key not in self.ordered, f"{key} is ordered twice"
            self.ordered.add(key)
            self.may_run(task)
            self.tasks[key] = task

    def forget(self, tasks: Iterable[Key]) -> None:
        for key in tasks:
            self.tasks.pop(key, None)

    def workers(self) -> Mapping[str, int]:
        return {"A": 3}

    def processes(self) -> int:
        return 3

    def tags(self) -> dict[str, int]:
        return {}

    def can_run(self, worker: str, tag: str) -> bool:
        return worker in self.workers() and not tag

    def busy(self) -> frozenset[str]:
        return frozenset()

    def processes_of(self, broker: str) -> frozenset[str]:
        return frozenset(PROCESSES)

    def lost(self, addresses: Iterable[str]) -> None:
        pass


class World:
    def __init__(self, rng: Random, api: type[RouterApi] = RouterApi, pipeliner: type[Pipeliner] = Pipeliner) -> None:
        self.rng, self.now = rng, 100.0
        self.make_api, self.make_pipeliner = api, pipeliner
        self.store = SqlPipelines(":memory:")
        self.pipelines: dict[str, Pipeline] = {}
        self.finished: set[tuple[str, int]] = set()
        self.faults: dict[tuple[str, int], int] = {}  # since the pipeline was last started
        self.reports: list[dict[str, Any]] = []  # reports of the Broker that have not arrived yet
        self.log: list[str] = []
        self.pipeliners: list[dict[str, Any]] = []
        self.begin_router()
        self.pipeliners = [self.new_pipeliner() for _ in range(2)]

    def close(self) -> None:
        self.store.close()

    # the actors

    def begin_router(self) -> None:
        """Start a Router with the store's content.

        All processes restart, and none of their reports arrives.
        """
        logger = logging.Logger("Router")
        handler = logging.Handler()
        handler.emit = lambda record: self.log.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        self.cluster = Tasks()
        self.cluster.may_run = self.may_run
        self.reports.clear()
        for one in self.pipeliners:
            one["answers"].clear()  # the old Router's connections are gone
        about = RouterAbout(router="r", scheduler_port=1)
        clocks: dict[str, Any] = {"monotonic": lambda: self.now, "wall": lambda: self.now + 1e9}
        self.api = self.make_api(
            self.store, self.cluster, {"store": {}}, say=self.said, announce=self.announced, about=about, logger=logger, **clocks
        )
        self.pulse()

    def new_pipeliner(self) -> dict[str, Any]:
        return {"is": self.make_pipeliner("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"), "answers": [], "asked": False}

    def announced(self, line: str) -> None:
        """Take a line that the Router broadcasts as pypelinin does."""

    def said(self, topic: str, message: Message) -> None:
        if isinstance(message, KillJobs):
            for process, (pipeline, job, attempt) in list(self.cluster.running.items()):
                if f"{pipeline}-{job}" in message.jobs:
                    self.die(process, (pipeline, job, attempt))

    def may_run(self, task: Task) -> None:
        assert (task.pipeline, task.job) not in self.finished, f"{task.pipeline}-{task.job} is run again after it was finished"
        for before in self.pipelines[task.pipeline].after()[task.job]:
            assert (task.pipeline, before) in self.finished, f"{task.pipeline}-{task.job} is run before what it comes after"

    def ask(self, **message: Any) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []
        self.api.message(json.dumps(message).encode(), lambda body: answers.append(json.loads(body)))
        self.api.flush()
        return answers[0]

    def pulse(self) -> None:
        self.ask(command="pulse", broker="b", workers=["A"], processes=list(PROCESSES))

    # events

    def add(self) -> None:
        size, name = self.rng.randint(1, 4), f"x{len(self.pipelines)}"
        jobs = [Job("A", {"n": number}, retries=self.rng.choice([0, 0, 1])) for number in range(size)]
        edges = [(jobs[a], jobs[b]) for b in range(size) for a in range(b) if self.rng.random() < 0.5]
        pipeline = Pipeline([*[(job, None) for job in jobs], *edges], priority=self.rng.choice([0, 0, 3]))
        self.pipelines[name] = Pipeline.deserialize(pipeline.serialize())
        answer = self.ask(**{"command": "add pipeline", "pipeline id": name, "pipeline": pipeline.serialize()})
        assert answer["answer"] == "pipeline accepted"

    def some(self) -> str:
        return self.rng.choice(list(self.pipelines))

    def cancel(self) -> None:
        if self.pipelines:
            self.ask(**{"command": "cancel", "pipeline id": self.some()})

    def retry(self) -> None:
        if not self.pipelines:
            return
        name = self.some()
        if self.ask(**{"command": "retry", "pipeline id": name})["answer"] == "ok":
            self.faults = {key: count for key, count in self.faults.items() if key[0] != name}

    def cancel_and_retry(self) -> None:
        name = self.some() if self.pipelines else ""
        if name and self.ask(**{"command": "cancel", "pipeline id": name})["answer"] == "ok":
            self.faults = {key: count for key, count in self.faults.items() if key[0] != name}
            assert self.ask(**{"command": "retry", "pipeline id": name})["answer"] == "ok"

    def exchange(self) -> None:
        one = self.rng.choice(self.pipeliners)
        if one["asked"] and self.rng.random() < 0.7:
            return
        message = encode(one["is"].request())
        one["asked"], one["answers"] = True, []  # repeated requests use a new connection
        if self.rng.random() < 0.9:  # otherwise the request is lost
            self.api.message(message, one["answers"].append)
            self.api.flush()

    def answer(self) -> None:
        one = self.rng.choice(self.pipeliners)
        if not one["answers"]:
            return
        body, one["answers"] = one["answers"][0], []
        if self.rng.random() < 0.9:  # otherwise the answer is lost
            message = convert(decode_object(body), ExchangeReply)
            if isinstance(message, UnknownPipeliner) or message.number == one["is"].request().number:
                one["is"].answered(message)
                one["asked"] = False

    def die_pipeliner(self) -> None:
        self.pipeliners[self.rng.randrange(2)] = self.new_pipeliner()

    def begin_task(self) -> None:
        free = [process for process in PROCESSES if process not in self.cluster.running]
        waiting = [key for key in self.cluster.tasks if key not in self.cluster.running.values()]
        if free and waiting:
            self.cluster.running[self.rng.choice(free)] = self.rng.choice(waiting)

    def end_task(self, kind: str) -> None:
        if not self.cluster.running:
            return
        process, key = self.rng.choice(list(self.cluster.running.items()))
        del self.cluster.running[process]
        if self.cluster.tasks.pop(key, None) is None:
            return  # it was forgotten
        if kind == "finished":
            self.finished.add(key[:2])
        else:
            self.fault(key)
        self.api.task_ends([TaskEnd(*key, kind, error="e" if kind == "raised" else "")])
        self.api.flush()

    def fault(self, key: Key) -> None:
        self.faults[key[:2]] = self.faults.get(key[:2], 0) + 1

    def process_dies(self) -> None:
        if self.cluster.running:
            self.die(*self.rng.choice(list(self.cluster.running.items())))

    def die(self, process: str, key: Key) -> None:
        """Kill a process.

        The Broker's report and Dask's event come in any order, or no report comes.
        """
        pipeline, job, attempt = key
        del self.cluster.running[process]
        report = {"command": "process ended", "broker": "b", "process": process, "dead": True, "error": "died"}
        if self.rng.random() < 0.8:
            report |= {"job": f"{pipeline}-{job}", "attempt": attempt, "node": "n"}
            if key in self.cluster.tasks:
                self.fault(key)
        self.reports.append(report)
        if self.rng.random() < 0.5:
            self.report()
        if self.cluster.tasks.pop(key, None) is not None:
            self.api.task_ends([TaskEnd(*key, "lost", process=process)])

    def report(self) -> None:
        if self.reports:
            self.ask(**self.reports.pop(self.rng.randrange(len(self.reports))))

    def later(self, seconds: float | None = None) -> None:
        end = self.now + (self.rng.choice([0.3, 1.2, 3.0, 7.0]) if seconds is None else seconds)
        while self.now < end:
            self.now = min(end, self.now + 0.4)
            self.pulse()
            self.api.tick()
            self.api.flush()

    STEPS = (
        [add, cancel, retry, cancel_and_retry, die_pipeliner, process_dies, report, later]
        + 6 * [exchange, answer]
        + 4 * [begin_task]
        + 2 * [lambda self: self.end_task("finished")]
        + [lambda self: self.end_task("raised")]
    )

    def play(self, steps: int) -> None:
        self.add()
        for _ in range(steps):
            if self.rng.random() < 0.004:
                self.begin_router()
            else:
                self.rng.choice(self.STEPS)(self)
            self.check()

    # invariants

    def check(self) -> None:
        state = self.api.state
        assert not [line for line in self.log if "bug" in line], self.log
        waiting = list(state.waiting)
        assert len(set(waiting)) == len(waiting), f"queued twice: {waiting}"
        held = [name for helper in state.sessions.values() for name in helper.holds]
        assert len(set(held)) == len(held), f"leased twice: {held}"
        assert not set(held) & set(waiting), "leased and waiting"
        for name, helper in state.sessions.items():
            for pipeline in helper.holds:
                assert pipeline in state.active, f"{pipeline} is held and over"
                assert state.active[pipeline].holder == name, f"{pipeline} is held by another one"
        for pipeline, active in state.active.items():
            assert active.holder in state.sessions or pipeline in waiting, f"{pipeline} is held by no Pipeliner"

    def heal(self) -> None:
        """Stop the faults: everything must end, and with the right result."""
        for _ in range(60):
            for one in self.pipeliners:
                one["answers"].clear()
                self.api.message(encode(one["is"].request()), one["answers"].append)
            self.later(1.5)
            for one in self.pipeliners:
                for body in one["answers"]:
                    one["is"].answered(convert(decode_object(body), ExchangeReply))
            for _ in range(30):
                self.begin_task()
                self.end_task("finished")
            self.check()
            while self.reports:
                self.report()
            states = {name: self.ask(**{"command": "pipeline", "pipeline id": name}) for name in self.pipelines}
            if all(one["state"] not in ("waiting", "running") for one in states.values()):
                break
        for name, shown in states.items():
            assert shown["state"] in ("finished", "failed", "cancelled"), f"{name} is {shown['state']} for ever"
            if shown["state"] == "failed":
                guilty = [
                    job for job in shown["jobs"] if self.faults.get((name, job["job"]), 0) > job_retries(self.pipelines[name], job["job"])
                ]
                assert guilty, f"{name} has failed, and none of its jobs has"
            if shown["state"] == "finished":
                assert all((name, number) in self.finished for number in range(len(self.pipelines[name].jobs)))


def job_retries(pipeline: Pipeline, number: int) -> int:
    return pipeline.jobs[number].retries
