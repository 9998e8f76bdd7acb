"""The small world around the Router of tests/pipelines/storm.py, with brokers and Pipeliners that are not FISSION's.

Worker A is on processes of ours, worker F only on others'. The others take jobs and pipelines, report, fail, forget, and report jobs that
were never theirs, between all other events.
"""

from __future__ import annotations

from random import Random
from typing import Any

from fission.pipelines import Job, Pipeline
from fission.pipelines.leases import OTHERS
from fission.pipelines.router_api import RouterApi
from fission.protocol.pipeline_records import Task
from tests.pipelines.storm import World


class OthersWorld(World):
    STEPS: Any

    def __init__(self, rng: Random, api: type[RouterApi] = RouterApi) -> None:
        self.taken: list[tuple[str, tuple[str, int]]] = []  # job ids of the wire, and which jobs they are
        self.held: list[str] = []  # pipelines that their Pipeliners have
        self.lines: list[str] = []
        super().__init__(rng, api)

    def begin_router(self) -> None:
        super().begin_router()
        self.taken = [one for one in self.taken if self.rng.random() < 0.5]  # they may still report what they have taken
        assert self.take() or True  # from now on, workers that no Broker knows are not mistakes

    def announced(self, line: str) -> None:
        self.lines.append(line)

    def may_run(self, task: Task) -> None:
        if task.pipeline not in self.pipelines:
            self.pipelines[task.pipeline] = Pipeline([(Job(task.worker, retries=1), None)])
        super().may_run(task)

    # what happens

    def add(self) -> None:
        size, name = self.rng.randint(1, 4), f"x{len(self.pipelines)}"
        jobs = [Job(self.rng.choice("AF"), {"n": number}, retries=self.rng.choice([0, 1])) for number in range(size)]
        if self.rng.random() < 0.4:
            jobs = [Job(f"F{number}") for number in range(size)]  # what their format can express
        edges = [(jobs[a], jobs[b]) for b in range(size) for a in range(b) if self.rng.random() < 0.5]
        pipeline = Pipeline([*[(job, None) for job in jobs], *edges], priority=self.rng.choice([0, 0, 3]))
        self.pipelines[name] = Pipeline.deserialize(pipeline.serialize())
        answer = self.ask(**{"command": "add pipeline", "pipeline id": name, "pipeline": pipeline.serialize()})
        assert answer["answer"] == "pipeline accepted"

    def add_single(self) -> None:
        answer = self.ask(command="add job", worker=self.rng.choice("AF"), data=self.rng.choice([None, 3, {"x": 1}]), retries=1)
        assert answer["answer"] == "job accepted"

    def begin_task(self) -> None:
        theirs = {key: task for key, task in self.cluster.tasks.items() if task.worker != "A"}
        for key in theirs:
            del self.cluster.tasks[key]
        super().begin_task()
        self.cluster.tasks |= theirs

    def take(self) -> bool:
        job = self.ask(command="get job")
        if job["worker"] is None:
            return False
        assert job["worker"] != "A", "it may run on a process of ours"
        name = job["job id"]
        pipeline, number = (name, 0) if name.startswith("job-") else (name.rpartition("-")[0], int(name.rpartition("-")[2]))
        key = pipeline, number
        assert key not in self.finished, f"{key} is given away after it was finished"
        assert not [one for one in self.cluster.tasks if one[:2] == key], f"{key} is given away, and the cluster runs it too"
        self.taken.append((name, key))
        return True

    def report_job(self, command: str) -> None:
        if not self.taken:
            return
        name, key = self.taken.pop(self.rng.randrange(len(self.taken)))
        if self.rng.random() < 0.1:
            return  # it died with the job, or never reports
        answer = self.ask(**{"command": command, "job id": name, "duration": 1})["answer"]
        assert answer in ("good job!", "unknown job id")
        if answer != "good job!":
            return  # cancelled, or another client has reported it since the Router restarted
        assert key not in self.finished, f"{key} is over twice"
        if command == "job finished":
            self.finished.add(key)
        else:
            self.fault((*key, 0))

    def lie(self) -> None:
        """Report what a process of ours may have begun."""
        ours = [
            (name, number)
            for name, pipeline in self.pipelines.items()
            for number, job in enumerate(pipeline.jobs)
            if job.worker_name == "A"
        ]
        if ours:
            name, number = self.rng.choice(ours)
            job = name if name.startswith("job-") else f"{name}-{number}"
            command = self.rng.choice(["job finished", "job failed"])
            assert self.ask(**{"command": command, "job id": job, "duration": 1})["answer"] == "unknown job id"
        leased = [name for name, active in self.api.state.active.items() if active.holder not in ("", OTHERS)]
        if leased:
            message = {"command": "pipeline finished", "pipeline id": self.rng.choice(leased)}
            assert self.ask(**message)["answer"] == "unknown pipeline id"

    def take_pipeline(self) -> None:
        found = self.ask(command="get pipeline")
        if found["pipeline"] is not None:
            name = found["pipeline id"]
            assert not [key for key in self.cluster.tasks if key[0] == name], f"{name} is given away, and has begun"
            self.held.append(name)

    def finish_pipeline(self) -> None:
        if not self.held:
            return
        name = self.held.pop(self.rng.randrange(len(self.held)))
        if self.ask(**{"command": "pipeline finished", "pipeline id": name, "duration": 2.5})["answer"] == "good job!":
            self.finished |= {(name, number) for number in range(len(self.pipelines[name].jobs))}

    # what must be

    def check(self) -> None:
        state = self.api.state
        assert not [line for line in self.log if "bug" in line], self.log
        waiting = [*state.waiting, *state.single]
        assert len(set(waiting)) == len(waiting), f"queued twice: {waiting}"
        held = [name for helper in state.sessions.values() for name in helper.holds]
        held += [name for name, active in state.active.items() if active.holder == OTHERS]
        assert len(set(held)) == len(held), f"leased twice: {held}"
        assert not set(held) & set(waiting), "leased and waiting"
        for pipeline, active in state.active.items():
            assert active.holder in state.sessions or active.holder == OTHERS or pipeline in waiting, f"{pipeline} is held by no Pipeliner"
        offers = self.api.queue
        assert not set(offers.pulled) & set(offers.open), "taken and open"
        assert set(offers.open) == set(self.cluster.tasks), "the cluster has other jobs than those that are open"
        for pipeline, job, attempt in offers.pulled:
            assert state.active[pipeline].attempts[job][0] == attempt, f"{pipeline}-{job} is taken, and runs no longer"

    def heal(self) -> None:
        """All clients work as they should from now on: their jobs end with all the others."""
        self.healing = True
        super().heal()
        for name in self.pipelines:
            ended = self.ask(**{"command": "pipeline", "pipeline id": name})
            line = f"job finished: {name} duration: " if name.startswith("job-") else f"pipeline finished: id={name}, duration="
            assert any(one.startswith(line) for one in self.lines), f"{name} is {ended['state']}, and no line was broadcast"

    def later(self, seconds: float | None = None) -> None:
        super().later(seconds)
        if getattr(self, "healing", False):
            for name, active in list(self.api.state.active.items()):
                if active.holder == OTHERS and name not in self.held:
                    self.held.append(name)
            while self.held:
                self.finish_pipeline()
            for taken in list(self.api.queue.pulled.values()):
                pipeline, number = taken.task.pipeline, taken.task.job
                name = pipeline if pipeline.startswith("job-") else f"{pipeline}-{number}"
                if not any(one == name for one, _ in self.taken):
                    self.taken.append((name, (pipeline, number)))
            while self.take() or self.taken:
                while self.taken:
                    self.report_job("job finished")


OthersWorld.STEPS = (
    [getattr(OthersWorld, step.__name__, step) for step in World.STEPS]  # World's list has its own methods
    + 2 * [OthersWorld.add_single, OthersWorld.take_pipeline, OthersWorld.finish_pipeline, OthersWorld.lie]
    + 4 * [OthersWorld.take]
    + 3 * [lambda self: self.report_job("job finished")]
    + [lambda self: self.report_job("job failed")]
)
