"""Three endpoints in a row in memory: a source, a job between, and a sink, with losses, by one seed.

A schedule is drawn from a seed: who works, which message arrives, which time passes, who dies. A
job that dies is replaced by a new incarnation, its neighbours are wired to it, and a part of what
it had sent is lost. The property: the sink's file gets every block once, in order, and all end.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from fission.protocol import frames
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_effects import Effect, SendControl, SendData, TellClient
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.messages.client_to_job import AcknowledgeEnd, ClientToJob, WirePipe
from fission.protocol.messages.job_to_client import WorkDone

BLOCKS = 12
WINDOW = 4
#: Steps within which every schedule ends, far more than any needs.
MOST_STEPS = 20_000
NAMES = ("source", "middle", "sink")


class Job:
    """One incarnation of a job.

    Attributes:
        channels: what is under way to it, by (sender, kind).
        report: whether the client has its `WorkDone`.
    """

    def __init__(self, chain: Chain, place: int, incarnation: int) -> None:
        self.chain, self.place, self.incarnation = chain, place, incarnation
        inputs = [InputSpec(place)] if place else []
        outputs = [OutputSpec(place + 1)] if place < 2 else []
        spec = EndpointSpec(inputs, (), outputs, incarnation=incarnation, is_source=not place, client=True, window_blocks=WINDOW)
        self.endpoint = Endpoint(spec)
        self.channels: dict[tuple[Any, str], deque[Any]] = {}
        self.reported = False
        self.sent = 0
        self.endpoint.start(chain.now)
        if not place:
            self.endpoint.begin(1)
        self.perform()

    def perform(self) -> None:
        """Send what the endpoint wants to be sent."""
        endpoint = self.endpoint
        while endpoint.effects:
            effects: list[Effect] = endpoint.effects[:]
            endpoint.effects.clear()
            for effect in effects:
                if isinstance(effect, SendData):
                    self.chain.send(self, self.place + 1, "data", [bytes(frame) for frame in effect.message])
                elif isinstance(effect, SendControl):
                    self.chain.send(self, self.place - 1, "control", [effect.message])
                elif isinstance(effect, TellClient) and isinstance(effect.message, WorkDone):
                    self.reported = True
                    self.chain.command(self, AcknowledgeEnd())
            endpoint.performed(self.chain.now)

    def work(self) -> None:
        """Do what the job's loop would do next."""
        endpoint = self.endpoint
        if endpoint.finishing:
            return
        if not self.place:
            if self.sent == BLOCKS:
                endpoint.end()
            elif endpoint.outputs[0].may_continue:
                self.sent += 1
                endpoint.put(0, b"%d" % self.sent, 0, self.chain.now)
            self.perform()
            return
        aligner = endpoint.inputs.aligner
        assert aligner is not None
        endpoint.inputs.batch_limit = min((output.window.room - len(output.pending) for output in endpoint.outputs), default=WINDOW)
        if endpoint.inputs.batch_limit > 0 and (batch := endpoint.take()) is not None:
            for number, payload in zip(batch.numbers, batch.columns[0], strict=True):
                if self.place == 2:
                    self.chain.write(number, payload)
                else:
                    endpoint.outputs[0].seek(number)
                    endpoint.put(0, payload, 0, self.chain.now)
                endpoint.done(number, self.chain.now)
        elif aligner.beginning is not None:
            endpoint.begin(max(aligner.beginning, len(self.chain.file) + 1) if self.place == 2 else aligner.beginning)
        elif endpoint.inputs.final or endpoint.unwanted:
            endpoint.end()
        else:
            endpoint.flush()
            endpoint.release(self.chain.now)
        self.perform()

    def take(self, kind: str, message: Any) -> None:
        """Take a message that arrives."""
        received = self.endpoint.data_received if kind == "data" else self.endpoint.control_received
        received(message, self.chain.now)
        self.perform()


class Chain:
    """The three jobs, and the client that replaces them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 0.0
        self.file: list[bytes] = []
        self.jobs: list[Job] = []
        self.early: dict[tuple[int, str], deque[Any]] = {}  # for jobs that are not made yet
        for place in range(3):
            self.jobs.append(Job(self, place, 1))

    def send(self, sender: Job, place: int, kind: str, message: Any) -> None:
        """Let a message get under way to the job at a place."""
        if place >= len(self.jobs):
            self.early.setdefault((place, kind), deque()).append(message)
        else:
            self.jobs[place].channels.setdefault((sender, kind), deque()).append(message)

    def command(self, job: Job, message: ClientToJob) -> None:
        """Let a command of the client get under way to a job."""
        job.channels.setdefault(("client", "control"), deque()).append([frames.encode_command(message)])

    def write(self, number: int, payload: bytes) -> None:
        """Append to the sink's file, which survives its incarnations."""
        assert (number, payload) == (len(self.file) + 1, b"%d" % number), f"{number}: {payload!r} after {self.file}"
        self.file.append(payload)

    def die(self, place: int) -> None:
        """Kill the job at a place, and replace it."""
        old = self.jobs[place]
        if old.reported:
            return  # its work is done: it is not started anew
        for job in self.jobs:
            for (sender, _), under_way in job.channels.items():
                if sender is old:
                    for _ in range(self.random.randint(0, len(under_way))):
                        under_way.pop()
        self.jobs[place] = new = Job(self, place, old.incarnation + 1)
        for neighbour, pipe in ((place - 1, place), (place + 1, place + 1)):
            if 0 <= neighbour < 3:
                self.command(self.jobs[neighbour], WirePipe(pipe=pipe, address="", near=True, peer=place, incarnation=new.incarnation))

    def arrive(self) -> None:
        """Let one message arrive."""
        waiting = [(job, key) for job in self.jobs for key, under_way in job.channels.items() if under_way]
        if waiting:
            job, key = self.random.choice(waiting)
            job.take(key[1], job.channels[key].popleft())

    def run(self, deaths: int) -> None:
        """Let everything happen until all jobs are over."""
        for pipe in range(3):
            for kind in ("data", "control"):
                for message in self.early.pop((pipe, kind), ()):
                    self.jobs[pipe].channels.setdefault((self.jobs[pipe - 1], kind), deque()).append(message)
        for _ in range(MOST_STEPS):
            if all(job.endpoint.ending.over for job in self.jobs):
                break
            choice = self.random.random()
            if choice < 0.45:
                self.random.choice(self.jobs).work()
            elif choice < 0.9:
                self.arrive()
            elif choice < 0.97 or not deaths:
                self.now += self.random.choice([0.0, 0.0001, 0.03])
                for job in self.jobs:
                    job.endpoint.tick(self.now)
                    job.perform()
            else:
                deaths -= 1
                self.die(self.random.randrange(3))
        assert all(job.endpoint.ending.over for job in self.jobs), "the chain is stalled"
        assert self.file == [b"%d" % number for number in range(1, BLOCKS + 1)]


def run_chain(seed: int) -> None:
    """Check one schedule."""
    random = Random(seed)
    Chain(random).run(random.choice([0, 1, 2, 4, 8]))
