"""What a Broker asks of the Router, and reports to it, at the Router's api address."""

from __future__ import annotations

import msgspec

from fission.protocol.messages.pipelines.wire import Id, RequestCodec, RouterRequest, Whole, check_text, check_worker


class GetConfiguration(RouterRequest, frozen=True, tag="get configuration"):
    """Ask for the Router's configuration. Published: pypelinin's brokers ask for it too."""


class BrokerPulse(RouterRequest, frozen=True, tag="pulse", forbid_unknown_fields=True):
    """Say that a Broker is alive.

    Attributes:
        broker: its id.
        workers: names of its workers.
        processes: addresses of its worker processes.
        leave: whether the Broker ends.
    """

    broker: Id
    workers: list[str]
    processes: list[str] = msgspec.field(default_factory=list)
    leave: bool = False

    def check(self) -> None:
        for worker in self.workers:
            check_worker(worker)
        for address in self.processes:
            check_text(address, "process")


class ReportProcessEnded(RouterRequest, frozen=True, tag="process ended", forbid_unknown_fields=True):
    """Report that a worker process died, or is about to be killed, and which job it ran.

    Attributes:
        broker: id of the Broker.
        process: address of the process.
        dead: whether it is dead already.
        error: why, for people.
        job: id of the job that it ran; empty: none.
        attempt: of the job.
        node: name of the process, for people.
    """

    broker: Id
    process: str
    dead: bool = False
    error: str = ""
    job: str = ""
    attempt: Whole = 0
    node: str = ""

    def check(self) -> None:
        check_text(self.process, "process")
        check_text(self.job, "job")
        check_text(self.node, "node")


CODEC = RequestCodec(
    "Broker to Router",
    GetConfiguration,
    BrokerPulse,
    ReportProcessEnded,
)
