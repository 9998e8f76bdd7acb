"""The PipelineManager: hands pipelines to the Router and follows them to their end."""

from __future__ import annotations

import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.daemon import ask, protect_with, read_keys
from fission.pipelines.errors import DaemonError, KeysRefused, PipelineError, RouterUnreachable
from fission.pipelines.model import Pipeline
from fission.protocol.messages.pipelines.client_to_router import AddPipelines, GetEnds, NamedPipeline
from fission.protocol.messages.pipelines.router_to_client import EndDetails, EndsBroadcast, PipelineEnd, PipelineEnds, PipelinesAccepted
from fission.protocol.messages.pipelines.wire import LIMIT, RouterReply, RouterRequest, convert, decode_object, encode

#: Default timeout for the Router's answer, in seconds. Arbitrary.
TIMEOUT_S = 10.0
#: Seconds after which a Router that is waited for without a limit is reported missing, once. Arbitrary.
PATIENCE_S = 3.0
#: Seconds after which the Router is asked for ends that the broadcast may not have delivered.
ASK_S = 1.0
#: Maximum number of ended pipelines in `pipelines`. Arbitrary.
KEEP = 1000
#: Maximum number of pipelines in one message. Arbitrary.
BATCH = 500
R = TypeVar("R", bound=RouterReply)


class PipelineManager:
    """Starts pipelines and follows them to their end.

    For one thread at a time. A context manager; `close` closes its sockets.

    It remembers the newest `KEEP` ended pipelines; its counters count all.
    """

    def __init__(
        self,
        api: str,
        broadcast: str,
        poll_time: int = 50,
        timeout: float | None = TIMEOUT_S,
        *,
        keep: int = KEEP,
        keys: str | Path | None = None,
    ) -> None:
        """Connect in the background; a missing Router is noticed when a pipeline is started.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            broadcast: the Router's address for broadcasts, ``tcp://HOST:PORT``.
            poll_time: milliseconds that `finished` and `update` wait for news.
            timeout: seconds to wait for an answer of the Router; None: no limit.
            keep: maximum number of ended pipelines in `pipelines`.
            keys: the Router's, the folder of `fission keys`; None: the Router has none.

        Raises:
            DaemonError: an address is malformed, or the keys cannot be used.
        """
        from fission.adapters.zmq_api import ApiClient, Listener

        self._api = api
        self.poll_time = poll_time
        self._timeout = timeout
        self._keep = keep
        protect = protect_with(read_keys(keys))
        try:
            self._client = ApiClient(api, protect)
            try:
                self._listener = Listener(broadcast, ["ended"], protect)
            except UserError:
                self._client.close()
                raise
        except UserError as error:
            raise DaemonError(str(error)) from None
        self._open: dict[str, Pipeline] = {}
        self._over: OrderedDict[str, Pipeline] = OrderedDict()
        self._started = self._finished = self._failed = 0
        self._number = -1  # of the last known end; -1: the first pipeline has not been started
        self._asked = 0.0

    def __enter__(self) -> PipelineManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PipelineManager: {self._started} submitted, {self._finished} finished>"

    def close(self) -> None:
        """Close the sockets; the pipelines continue. Idempotent."""
        self._client.close()
        self._listener.close()

    @property
    def pipelines(self) -> list[Pipeline]:
        """The newest ended pipelines, and all that have not ended."""
        return [*self._over.values(), *self._open.values()]

    @property
    def started_pipelines(self) -> int:
        """Number of started pipelines."""
        return self._started

    @property
    def finished_pipelines(self) -> int:
        """Number of ended pipelines, failed ones included."""
        return self._finished

    @property
    def failed_pipelines(self) -> int:
        """Number of failed and cancelled pipelines; `Pipeline.error` says why."""
        return self._failed

    def start(self, pipeline: Pipeline) -> str:
        """Hand a pipeline to the Router and return its id; an accepted pipeline survives all
        daemons.

        Args:
            pipeline: one that was not started before.

        Raises:
            RouterUnreachable: there was no answer in time, or the keys differ (`KeysRefused`); the
                same pipeline can be started again.
            PipelineRefused: the Router does not accept it; the text says why.
            PipelineError: it is not a `Pipeline`, or was started before.
        """
        self.start_all([pipeline])
        return str(pipeline.id)

    def start_all(self, pipelines: Iterable[Pipeline]) -> list[str]:
        """Hand many pipelines to the Router in few messages and return their ids.

        Each message is accepted as a whole or not at all.

        Args:
            pipelines: none of them was started before.

        Raises:
            RouterUnreachable: as `start`; pipelines of earlier messages are started.
            PipelineRefused: as `start`.
            PipelineError: as `start`.
        """
        self._begin()
        batch: list[tuple[str, Pipeline, dict[str, Any]]] = []
        size, ids = 0, []
        for pipeline in pipelines:
            if not isinstance(pipeline, Pipeline):
                raise PipelineError(f"a PipelineManager starts Pipeline objects, but was given {pipeline!r}")
            if pipeline.id is not None and pipeline.started_at is not None:
                raise PipelineError(f"{pipeline!r} was already started, with id {pipeline.id}; make another Pipeline to run it again")
            if any(pipeline is other for _, other, _ in batch):
                raise PipelineError(f"{pipeline!r} was given twice; make another Pipeline to run it again")
            # an attempt that got no answer may have been accepted: the id stays, so that it cannot be accepted twice
            pipeline.id = pipeline.id or uuid.uuid4().hex
            body = pipeline.as_message()
            length = len(encode(body)) + 100
            if batch and (size + length > LIMIT // 2 or len(batch) == BATCH):
                self._send(batch)
                batch, size = [], 0
            batch.append((pipeline.id, pipeline, body))
            size += length
            ids.append(pipeline.id)
        if batch:
            self._send(batch)
        return ids

    def _send(self, batch: list[tuple[str, Pipeline, dict[str, Any]]]) -> None:
        self._ask(AddPipelines([NamedPipeline(name, body) for name, _, body in batch]), PipelinesAccepted)
        now = time.time()
        for name, pipeline, _ in batch:
            pipeline.started_at = now
            self._open[name] = pipeline
        self._started += len(batch)

    def _begin(self) -> None:
        """Learn the number of the newest end, before the first pipeline can end."""
        if self._number < 0:
            self._number = self._ask(GetEnds(), PipelineEnds).number

    def _ask(self, request: RouterRequest, kind: type[R]) -> R:
        if self._timeout is not None:
            return ask(self._client, self._api, request, kind, self._timeout)
        missing = False
        while True:
            try:
                return ask(self._client, self._api, request, kind, PATIENCE_S)
            except KeysRefused:
                raise
            except RouterUnreachable as error:
                if not missing:
                    logging.getLogger(__name__).warning("%s; waiting for it (timeout=SECONDS of the PipelineManager sets a limit)", error)
                missing = True

    def finished(self, pipeline: Pipeline) -> bool:
        """Return whether a pipeline has ended, failed or not; wait up to `poll_time` for news if it
        has not.

        Each call takes the news of all pipelines, so a loop over several of them ends.

        Args:
            pipeline: one that this manager has started.

        Raises:
            PipelineError: this manager has not started it.
        """
        if pipeline.id is None or pipeline.started_at is None or (not pipeline.finished and pipeline.id not in self._open):
            raise PipelineError(f"{pipeline!r} was not started by this PipelineManager")
        self._receive(0.0 if pipeline.finished else self.poll_time / 1000)
        return pipeline.finished

    def update(self, timeout: float | None = None) -> None:
        """Take news until all pipelines have ended or nothing more arrives within `poll_time`.

        A Router that does not answer is not an error here: it may be back later.

        Args:
            timeout: maximum number of seconds, however much arrives; None: `poll_time`.
        """
        poll = self.poll_time / 1000
        deadline = time.monotonic() + (poll if timeout is None else timeout)
        while self._open:
            left = deadline - time.monotonic()
            if not self._receive(max(0.0, min(left, poll))) or left <= 0:
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all pipelines have ended, and return whether they have.

        Args:
            timeout: maximum number of seconds; None: no limit.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._open:
            left = ASK_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            self._receive(min(left, ASK_S))
        return True

    def _receive(self, timeout: float) -> bool:
        """Take news; wait up to *timeout* seconds for the first; return whether there was any."""
        received = self._listener.receive(min(timeout, ASK_S))
        for _, body in received:
            try:
                message: EndsBroadcast = convert(decode_object(body), EndsBroadcast)
            except RemoteProtocolError:
                continue
            if message.before > self._number:
                self._catch_up()  # a message was lost
            else:
                self._take(message.ends, message.more)
        known = self._number
        if self._open and time.monotonic() - self._asked > ASK_S:
            self._catch_up()
        return bool(received) or self._number > known

    def _catch_up(self) -> None:
        limit = ASK_S if self._timeout is None else min(ASK_S, self._timeout)
        while True:
            self._asked = time.monotonic()
            try:
                answer = ask(self._client, self._api, GetEnds(self._number), PipelineEnds, limit)
            except RouterUnreachable:
                return
            self._take(answer.ends, answer.more)
            if not answer.ends:
                return

    def _take(self, ends: Iterable[PipelineEnd], more: Mapping[str, EndDetails]) -> None:
        for end in ends:
            if end.number <= self._number:
                continue
            self._number = end.number
            pipeline = self._open.pop(end.pipeline_id, None)
            if pipeline is None:
                continue  # another client's
            pipeline.finished, pipeline.duration = True, end.duration
            pipeline.error = end.error
            if (details := more.get(end.pipeline_id)) is not None:
                pipeline.results = msgspec.to_builtins(details.results)
            self._finished += 1
            if end.state != "finished":
                self._failed += 1
                pipeline.error = end.error or {"worker": None, "error": end.state, "traceback": "", "data": pipeline.data}
            self._over[end.pipeline_id] = pipeline
            while len(self._over) > self._keep:
                self._over.popitem(last=False)
