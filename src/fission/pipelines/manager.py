"""The PipelineManager: hands pipelines to the Router and knows which are over."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.answers import ended_rows, results_of
from fission.pipelines.daemon import ask, protect_with, read_keys
from fission.pipelines.errors import DaemonError, KeysRefused, PipelineError, RouterAnswer, RouterUnreachable
from fission.pipelines.messages import LIMIT, decode, encode, take
from fission.pipelines.model import Pipeline

#: Seconds to wait for the Router, if nothing else is said. Arbitrary.
TIMEOUT_S = 10.0
#: Seconds after which a Router that is waited for without a limit is reported missing, once. Arbitrary.
PATIENCE_S = 3.0
#: Seconds after which the Router is asked for what the broadcast may not have brought.
ASK_S = 1.0
#: Pipelines that are over and are kept in `pipelines`; arbitrary.
KEEP = 1000
#: Pipelines in one message at most; arbitrary.
BATCH = 500


class PipelineManager:
    """Starts pipelines and follows them. Not for several threads at once. A context manager; `close` gives its sockets back.

    Of the pipelines that are over, the newest `KEEP` are kept; the numbers count all.
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
        """Args:
            api, broadcast: the Router's addresses, ``tcp://HOST:PORT``.
            poll_time: milliseconds that `finished` and `update` wait for news.
            timeout: seconds for an answer of the Router; None: `start` waits for it without a limit.
            keep: pipelines that are over and stay in `pipelines`.
            keys: the Router's, the folder of `fission keys`; None: it has none.

        Raises:
            DaemonError: an address cannot be one, or the keys cannot be used. That no Router is there shows when a pipeline is started.
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
        self._number = -1  # of the last end that we know of; -1: we have not begun to listen
        self._asked = 0.0

    def __enter__(self) -> PipelineManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PipelineManager: {self._started} submitted, {self._finished} finished>"

    def close(self) -> None:
        """Give the sockets back; the pipelines go on. Twice is right."""
        self._client.close()
        self._listener.close()

    @property
    def pipelines(self) -> list[Pipeline]:
        """Those that are not over, and the newest of those that are."""
        return [*self._over.values(), *self._open.values()]

    @property
    def started_pipelines(self) -> int:
        """How many were started."""
        return self._started

    @property
    def finished_pipelines(self) -> int:
        """How many are over, well or not."""
        return self._finished

    @property
    def failed_pipelines(self) -> int:
        """How many of them have failed or were cancelled; `Pipeline.error` says why."""
        return self._failed

    def start(self, pipeline: Pipeline) -> str:
        """Hand it to the Router; returns its id when it is accepted, which means that it will be finished.

        Raises:
            RouterUnreachable: there was no answer in time, or the keys are others (`KeysRefused`); starting it again is right.
            PipelineRefused: the Router does not take it; the text says why.
            PipelineError: it is no Pipeline, or was started before.
        """
        self.start_all([pipeline])
        return str(pipeline.id)

    def start_all(self, pipelines: Iterable[Pipeline]) -> list[str]:
        """The same for many, in few messages; each message is accepted as a whole or not at all.

        Raises:
            RouterUnreachable, PipelineRefused, PipelineError: as `start`; those before are started.
        """
        self._begin()
        batch: list[tuple[str, Pipeline, dict[str, Any]]] = []
        size, ids = 0, []
        for pipeline in pipelines:
            if not isinstance(pipeline, Pipeline):
                raise PipelineError(f"a PipelineManager starts Pipeline objects, not {pipeline!r}")
            if pipeline.id is not None and pipeline.started_at is not None:
                raise PipelineError(f"{pipeline!r} was already started, with id {pipeline.id}; make another Pipeline to run it again")
            if any(pipeline is other for _, other, _ in batch):
                raise PipelineError(f"{pipeline!r} is there twice; make another Pipeline to run it again")
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
        message = {"command": "add pipelines", "pipelines": [[name, body] for name, _, body in batch]}
        self._ask(message)
        now = time.time()
        for name, pipeline, _ in batch:
            pipeline.started_at = now
            self._open[name] = pipeline
        self._started += len(batch)

    def _begin(self) -> None:
        """Learns where the ends are counted, before the first pipeline can end."""
        if self._number < 0:
            answer = self._ask({"command": "ended since", "number": -1})
            try:
                self._number = take(answer, "number", int)
            except RemoteProtocolError as error:
                raise RouterAnswer(f"what answers at {self._api} is no Router: {error}") from None

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if self._timeout is not None:
            return ask(self._client, self._api, message, self._timeout)
        missing = False
        while True:
            try:
                return ask(self._client, self._api, message, PATIENCE_S)
            except KeysRefused:
                raise
            except RouterUnreachable as error:
                if not missing:
                    logging.getLogger(__name__).warning("%s; waiting for it (timeout=SECONDS of the PipelineManager sets a limit)", error)
                missing = True

    def finished(self, pipeline: Pipeline) -> bool:
        """Whether it is over, well or not; waits up to `poll_time` for news if it is not.

        Every call takes the news of all pipelines, also one about a pipeline that is over: a loop over several of them ends.

        Raises:
            PipelineError: it was not started by this manager.
        """
        if pipeline.id is None or pipeline.started_at is None or (not pipeline.finished and pipeline.id not in self._open):
            raise PipelineError(f"{pipeline!r} was not started by this PipelineManager")
        self._hear(0.0 if pipeline.finished else self.poll_time / 1000)
        return pipeline.finished

    def update(self, timeout: float | None = None) -> None:
        """Take the news: returns when all pipelines are over or nothing more comes within `poll_time`. `wait` waits.

        A Router that does not answer is no error here: it may be back later.

        Args:
            timeout: seconds that it takes at most, however much comes; None: `poll_time`.
        """
        poll = self.poll_time / 1000
        deadline = time.monotonic() + (poll if timeout is None else timeout)
        while self._open:
            left = deadline - time.monotonic()
            if not self._hear(max(0.0, min(left, poll))) or left <= 0:
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all pipelines are over; False: they are not within *timeout* seconds (None: no limit)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._open:
            left = ASK_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            self._hear(min(left, ASK_S))
        return True

    def _hear(self, timeout: float) -> bool:
        """Takes news, waiting for up to so many seconds for the first; whether there were any."""
        heard = self._listener.hear(min(timeout, ASK_S))
        for _, body in heard:
            try:
                message = decode(body)
                before, ends = take(message, "before", int), ended_rows(message)
            except RemoteProtocolError:
                continue
            if before > self._number:
                self._catch_up()  # a message was lost
            else:
                self._take(ends, message)
        known = self._number
        if self._open and time.monotonic() - self._asked > ASK_S:
            self._catch_up()
        return bool(heard) or self._number > known

    def _catch_up(self) -> None:
        limit = ASK_S if self._timeout is None else min(ASK_S, self._timeout)
        while True:
            self._asked = time.monotonic()
            try:
                answer = ask(self._client, self._api, {"command": "ended since", "number": self._number}, limit)
            except RouterUnreachable:
                return
            try:
                ends = ended_rows(answer)
            except RemoteProtocolError as error:
                raise RouterAnswer(f"what answers at {self._api} is no Router: {error}") from None
            self._take(ends, answer)
            if not ends:
                return

    def _take(self, ends: Iterable[Any], message: Mapping[str, Any]) -> None:
        for name, state, duration, number, error in ends:
            if number <= self._number:
                continue
            self._number = number
            pipeline = self._open.pop(name, None)
            if pipeline is None:
                continue  # somebody else's
            pipeline.finished, pipeline.duration = True, duration
            pipeline.error = error
            with contextlib.suppress(RemoteProtocolError):  # the end counts without them
                pipeline.results = results_of(message, name)
            self._finished += 1
            if state != "finished":
                self._failed += 1
                pipeline.error = error or {"worker": None, "error": state, "traceback": "", "data": pipeline.data}
            self._over[name] = pipeline
            while len(self._over) > self._keep:
                self._over.popitem(last=False)
