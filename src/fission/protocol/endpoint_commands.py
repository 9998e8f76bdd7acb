"""The client's commands to a job, as far as they concern its pipes."""

from __future__ import annotations

from typing import Protocol

from fission.errors import RemoteProtocolError
from fission.protocol.checkpointing import Checkpointing
from fission.protocol.ending import EndStage, JobEnd
from fission.protocol.endpoint_effects import ConnectClient, Effect, ForgetReader, Redirect, SayHello, TellClient, Wake
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.messages.client_to_job import (
    AcknowledgeEnd,
    CheckpointStored,
    ClientToJob,
    CloseOutput,
    ReachClient,
    RepeatReports,
    ResetGeneration,
    RewirePipe,
    ValueStored,
    WirePipe,
)
from fission.protocol.messages.job_to_client import BlocksReplayed
from fission.protocol.output import Output
from fission.protocol.retained_values import RetainedValues


class Commanded(Protocol):
    """The parts of an `Endpoint` that commands concern."""

    effects: list[Effect]
    inputs: Inputs
    outputs: list[Output]
    by_pipe: dict[int, Output]
    checkpoints: Checkpointing | None
    retained: RetainedValues
    ending: JobEnd

    def reset(self, generation: int) -> None:
        """Take the client's order to number from 1 again in a new generation."""
        ...

    def output(self, pipe: int) -> Output:
        """Return an output by its pipe; RemoteProtocolError if there is none."""
        ...

    def pass_releases(self) -> object:
        """Release what may be released now."""
        ...


class EndpointCommands:
    """Carries out commands on one endpoint."""

    def __init__(self, endpoint: Commanded) -> None:
        """Prepare.

        Args:
            endpoint: endpoint that the commands are for.
        """
        self._endpoint = endpoint

    def handle(self, message: ClientToJob) -> None:
        """Carry out a command.

        Raises:
            RemoteProtocolError: it does not concern the pipes of this job.
        """
        endpoint = self._endpoint
        match message:
            case WirePipe():
                self.wire(message)
            case RewirePipe():
                self._rewire(message.pipe)
            case RepeatReports():
                self._repeat_reports()
            case ReachClient():
                endpoint.effects.append(ConnectClient(message.address))
            case CloseOutput():
                endpoint.output(message.pipe).close()
                endpoint.effects.append(Wake())
                endpoint.pass_releases()
            case AcknowledgeEnd():
                endpoint.ending.acknowledge()
            case ValueStored():
                endpoint.retained.on_kept(message.pipe, message.number)
                endpoint.pass_releases()
            case ResetGeneration():
                endpoint.reset(message.generation)
            case CheckpointStored() if endpoint.checkpoints is not None:
                if endpoint.checkpoints.settling:
                    endpoint.effects.append(Wake())
                endpoint.checkpoints.on_stored(message.generation, message.block)
                endpoint.pass_releases()
            case _:
                raise RemoteProtocolError(f"this job does not understand a {type(message).__name__}")

    def wire(self, order: WirePipe) -> None:
        """Connect a pipe to a new incarnation of the job at its other end.

        Raises:
            RemoteProtocolError: it is not a pipe of this job.
        """
        endpoint = self._endpoint
        output = endpoint.by_pipe.get(order.pipe)
        if output is None:
            self._wire_input(order.pipe, order.address, order.incarnation)
            return
        endpoint.effects.append(ForgetReader(endpoint.outputs.index(output), order.incarnation))
        endpoint.effects.append(Redirect(order.pipe, order.address))
        blocks = output.wire(order.incarnation, near=order.near)
        replayed = BlocksReplayed(job=order.peer, incarnation=order.incarnation, pipe=order.pipe, blocks=blocks)
        endpoint.effects.append(TellClient(replayed))

    def _wire_input(self, pipe: int, address: str, incarnation: int) -> None:
        endpoint = self._endpoint
        endpoint.inputs.check(pipe)
        endpoint.effects.append(Redirect(pipe, address))  # before the answers of `wire`
        endpoint.inputs.wire(pipe, incarnation)
        endpoint.pass_releases()

    def _rewire(self, pipe: int) -> None:
        """Rewire a broken connection to the same incarnation; messages in transit are lost."""
        output = self._endpoint.by_pipe.get(pipe)
        if output is None:
            self._wire_input(pipe, "", 0)
        else:
            self._endpoint.effects.append(Redirect(pipe, ""))
            output.wire(output.consumer, near=output.near)

    def _repeat_reports(self) -> None:
        """Repeat all reports, because the client was away and may have missed some."""
        endpoint = self._endpoint
        endpoint.effects.append(SayHello())
        endpoint.retained.repeat_requests()
        if endpoint.checkpoints is not None:
            endpoint.checkpoints.repeat_reports()
        if endpoint.ending.stage is EndStage.REPORTED:
            endpoint.ending.repeat_report()
