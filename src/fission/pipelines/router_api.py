"""What the Router answers: every message at its api address, and what it broadcasts."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from fission.errors import RemoteProtocolError
from fission.pipelines.errors import PipelineError, StoreAway, StoreLost
from fission.pipelines.ports import Cluster, PipelineStore
from fission.pipelines.pull_queue import PullQueue
from fission.pipelines.pypelinin_api import PypelininApi
from fission.pipelines.router_queries import RouterQueries, end_broadcasts
from fission.pipelines.router_state import RouterState
from fission.pipelines.submissions import Submissions
from fission.project.names import did_you_mean
from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines import REQUESTS
from fission.protocol.messages.pipelines.broker_to_router import BrokerPulse, GetConfiguration, ReportProcessEnded
from fission.protocol.messages.pipelines.client_to_router import (
    AddPipeline,
    AddPipelines,
    CancelPipeline,
    CountPipelines,
    GetEnds,
    GetRouterStatus,
    ListPipelines,
    RetryFailedPipelines,
    RetryPipeline,
    ShowPipeline,
)
from fission.protocol.messages.pipelines.pipeliner_to_router import PipelinerExchange
from fission.protocol.messages.pipelines.pypelinin_to_router import AddJob, PypelininRequest
from fission.protocol.messages.pipelines.router_to_broker import KillJobs, ProcessEndNoted, PulseHeard, RouterAbout
from fission.protocol.messages.pipelines.router_to_client import RequestRefused
from fission.protocol.messages.pipelines.wire import ERROR_LENGTH, RouterReply, command_of, decode_object, encode
from fission.protocol.pipeline_records import TaskEnd

#: Broadcasts a message: (topic, message).
Say: TypeAlias = Callable[[str, Message], None]
#: An answer, or one that is encoded already.
Answer: TypeAlias = RouterReply | bytes
#: Commands that are suggested for a mistyped one; pypelinin's and those of FISSION's own daemons are not.
SUGGESTED = [name for name, kind in REQUESTS.commands.items() if not issubclass(kind, (PypelininRequest, PipelinerExchange))]


class RouterApi:
    """Answers each request once, a malformed one too, and none before its effects are durable.

    For one thread: call `message` for each message that has arrived, then `flush` once, and `tick`
    about every 0.1 s.
    """

    def __init__(
        self,
        store: PipelineStore,
        cluster: Cluster,
        config: Mapping[str, Any],
        *,
        say: Say,
        announce: Callable[[str], None] = lambda line: None,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        about: RouterAbout,
        logger: logging.Logger,
    ) -> None:
        """Continue with the pipelines in the store.

        Args:
            store: keeps the pipelines.
            cluster: runs the jobs.
            config: for the Brokers; of JSON's types.
            say: broadcasts (topic, message) to FISSION's daemons and clients.
            announce: broadcasts a line, as pypelinin does.
            monotonic: returns monotonic seconds.
            wall: returns seconds since the epoch.
            about: the Router's id and port, for the Brokers.
            logger: the Router's.
        """
        self.queue = PullQueue(cluster)
        self.state = RouterState(store, self.queue, logger)
        self.pypelinin = PypelininApi(self.state, self.queue, wall, logger)
        queries = RouterQueries(self.state, store, cluster, self.queue, about, monotonic, wall)
        self._submissions = Submissions(self.state, store, queries, self.pypelinin, wall, logger)
        self._say = say
        self._announce = announce
        self._monotonic = monotonic
        self._wall = wall
        self._log = logger
        self._answers: list[tuple[Callable[[bytes], None], Answer]] = []
        # the user's config and our own member: no message class can have all of it
        configuration = encode({**config, "fission": msgspec.to_builtins(about)})
        self._commands: dict[type, Callable[[Any, float], Answer]] = {
            GetConfiguration: lambda message, now: configuration,
            AddPipeline: self._submissions.add_one,
            AddPipelines: self._submissions.add,
            AddJob: self._submissions.add_job,
            RetryPipeline: self._submissions.retry,
            RetryFailedPipelines: self._submissions.retry_failed,
            CancelPipeline: self._submissions.cancel,
            ListPipelines: queries.newest,
            ShowPipeline: queries.show,
            GetEnds: queries.ended_since,
            GetRouterStatus: queries.status,
            CountPipelines: queries.counts,
            BrokerPulse: lambda message, now: self._pulse(message, now, about),
            ReportProcessEnded: lambda message, now: ProcessEndNoted(self.state.process_ended(message, now)),
            **self.pypelinin.commands,
        }

    def message(self, data: bytes, send: Callable[[bytes], None]) -> None:
        """Take a request.

        Args:
            data: the request.
            send: called once with the answer, when `flush` has made the effects durable.

        Raises:
            StoreAway: nothing has changed; call it again with the same request when the store is
                available again.
            StoreLost: the Router must end.
        """
        try:
            answer = self._performed(data, send)
        except (StoreAway, StoreLost):
            raise
        except (RemoteProtocolError, PipelineError) as error:
            why = str(error)[:ERROR_LENGTH]
            self._log.warning("[API] refused: %s", why)
            answer = RequestRefused("refused" if isinstance(error, PipelineError) else "malformed", why)
        except Exception as error:  # no message may end the Router, whatever it does to us
            self._log.error("[API] this is a bug in FISSION: %s", traceback.format_exc()[-ERROR_LENGTH:])
            answer = RequestRefused("malformed", f"the Router cannot do that: {error!r}"[:ERROR_LENGTH])
        if answer is not None:
            self._answers.append((send, answer))

    def _performed(self, data: bytes, send: Callable[[bytes], None]) -> Answer | None:
        """Perform a request; return its answer, or None if it is answered later."""
        fields = decode_object(data)
        command = command_of(fields)
        kind = REQUESTS.commands.get(command)
        if kind is None:
            raise RemoteProtocolError(f"there is no command {command[:80]!r}{did_you_mean(command[:80], SUGGESTED) or '.'}")
        try:
            request = REQUESTS.read(fields)
        except RemoteProtocolError as error:
            if issubclass(kind, PypelininRequest):
                return self.pypelinin.refuse(str(error))
            raise
        now = self._monotonic()
        if isinstance(request, PipelinerExchange):
            self.state.exchange(request, lambda reply: send(encode(reply)), now, self._wall())
            return None
        return self._commands[kind](request, now)

    def task_ends(self, ends: Sequence[TaskEnd]) -> None:
        """Take ends of tasks from the cluster."""
        self.queue.ended(ends)
        self.state.task_ends(ends, self._monotonic())

    def tick(self) -> None:
        """Judge who is silent, and which timeouts have expired."""
        self.state.tick(self._monotonic())
        self.pypelinin.tick(self._monotonic())

    def flush(self) -> None:
        """Make all effects durable, then send answers and broadcasts.

        Raises:
            StoreAway: nothing is forgotten; call it again when the store is back.
            StoreLost: the Router must end.
        """
        self.state.flush(self._monotonic())
        while self.pypelinin.step(self._monotonic()):
            self.state.flush(self._monotonic())
        answers, self._answers = self._answers, []
        for send, answer in answers:
            send(answer if isinstance(answer, bytes) else encode(answer))
        killed, self._submissions.killed = self._submissions.killed, []
        for jobs in killed:
            self._say("kill", KillJobs(jobs))
        ended, self.state.ended = self.state.ended, []
        for line in self.pypelinin.lines(ended):
            self._announce(line)
        for broadcast in end_broadcasts(ended):
            self._say("ended", broadcast)

    def _pulse(self, message: BrokerPulse, now: float, about: RouterAbout) -> PulseHeard:
        self.state.pulse(message, now)
        return PulseHeard(about)
