"""Asks a Router what a page shows: each question at most once in `CACHE_S`, however many viewers have it, and none without viewers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from fission.pipelines.daemon import ask, protect_with, read_keys
from fission.pipelines.errors import RouterUnreachable
from fission.protocol.messages.pipelines.wire import RouterReply, RouterRequest, encode

#: Seconds for which an answer is shown again; arbitrary: fast enough for the eye.
CACHE_S = 1.0
#: Seconds that the Router has to answer; arbitrary: it answers within milliseconds.
ANSWER_S = 2.0
#: Different questions whose answers are kept. Arbitrary: many viewers who look at different pipelines.
MOST_QUESTIONS = 200

R = TypeVar("R", bound=RouterReply)


class RouterConnection:
    """Asks one Router, which may come and go. Belongs to one thread, apart from its construction."""

    def __init__(self, api: str, keys: Path | None = None) -> None:
        """Connect with the first question.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            keys: the Router's, the folder of `fission keys`; None: it has none.

        Raises:
            DaemonError: the keys cannot be used.
        """
        self._api = api
        self._keys = read_keys(keys)
        self._client: Any = None

    def ask(self, request: RouterRequest, kind: type[R]) -> R:
        """Return the Router's answer; the request is sent once, since not each of them may be repeated. Blocks.

        Raises:
            FissionError: as `fission.pipelines.daemon.ask`, and for a malformed address.
        """
        from fission.adapters.zmq_api import ApiClient

        if self._client is None:
            self._client = ApiClient(self._api, protect_with(self._keys))
        return ask(self._client, self._api, request, kind, ANSWER_S, again=ANSWER_S)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None


class _Answer:
    """An answer that several viewers get.

    Attributes:
        task: has it, or will have it.
        until: when it is too old.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task, self.until = task, float("inf")


class RouterClient:
    """See the module. For one event loop."""

    def __init__(
        self, connection: RouterConnection, *, clock: Callable[[], float] = time.monotonic, thread: Executor | None = None
    ) -> None:
        """Begin without a question.

        Args:
            connection: is used and closed in the thread.
            clock: returns the time in seconds.
            thread: asks the Router, one question after the other; None: a thread of its own.
        """
        self._connection, self._clock = connection, clock
        self._thread = ThreadPoolExecutor(1, "router") if thread is None else thread
        self._answers: dict[bytes, _Answer] = {}
        self._unreachable: RouterUnreachable | None = None
        self._unreachable_until = float("-inf")

    async def get(self, request: RouterRequest, kind: type[R]) -> R:
        """Return an answer that is at most `CACHE_S` old to a request that changes nothing.

        A Router that does not answer is asked again after `CACHE_S`, and until then no question waits for it.

        Raises:
            FissionError: as `RouterConnection.ask`.
        """
        now = self._clock()
        self._answers = {key: answer for key, answer in self._answers.items() if now < answer.until}
        key = encode(request)
        if key not in self._answers:
            while len(self._answers) >= MOST_QUESTIONS:
                del self._answers[next(iter(self._answers))]
            answer = self._answers[key] = _Answer(asyncio.create_task(self._asked(request, kind)))
            answer.task.add_done_callback(lambda _: self._dated(answer))
        found: R = await asyncio.shield(self._answers[key].task)
        return found

    async def change(self, request: RouterRequest, kind: type[R]) -> R:
        """Return the answer to a request that changes something; what was known before is forgotten.

        Raises:
            FissionError: as `RouterConnection.ask`.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.ask, request, kind)
        finally:
            self._answers.clear()

    async def close(self) -> None:
        """End the thread and its connection."""
        for answer in self._answers.values():
            answer.task.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _asked(self, request: RouterRequest, kind: type[R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, request, kind)

    def _ask(self, request: RouterRequest, kind: type[R]) -> R:
        """Ask, unless the Router has just not answered another question. Runs in the thread."""
        if self._unreachable is not None and self._clock() < self._unreachable_until:
            raise self._unreachable
        try:
            return self._connection.ask(request, kind)
        except RouterUnreachable as why:
            self._unreachable, self._unreachable_until = why, self._clock() + CACHE_S
            raise

    def _dated(self, answer: _Answer) -> None:
        answer.until = self._clock() + CACHE_S
        if not answer.task.cancelled():
            answer.task.exception()  # a viewer who has left does not take it
