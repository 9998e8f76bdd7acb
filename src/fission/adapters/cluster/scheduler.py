"""The client's end of Dask: a scheduler of its own, or an existing one, and orders to the services of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import dask
from distributed import Client, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.security import Security

from fission.adapters.cluster.ending import end_all
from fission.adapters.cluster.quiet import QUIET, QuietScheduler
from fission.adapters.cluster.tasks import order as run_order
from fission.core.addresses import bracketed, host_port
from fission.errors import EngineError, RemoteProtocolError
from fission.protocol.messages.client_to_node import Order
from fission.protocol.messages.codec import Message
from fission.protocol.messages.node_to_client import OrderRefused
from fission.protocol.messages.order_envelopes import unwrap_answer, wrap_order

#: Seconds between two looks at the workers of an existing scheduler; arbitrary.
LOOK_S = 0.25
#: Seconds that a node has to answer a question; arbitrary.
ANSWER_S = 10.0

Expected = TypeVar("Expected", bound=Message)

log = logging.getLogger("fission.cluster")


class DaskScheduler:
    """Reaches Dask workers."""

    def __init__(
        self, ip: str, port: int, cluster: str | None, tls: Security | None, on_warning: Callable[[str], None] = lambda text: None
    ) -> None:
        """Prepare; `open` begins.

        Args:
            ip: where it listens.
            port: where it listens.
            cluster: address of an existing one; None: this process has its own.
            tls: what encrypts connections; None: nothing does.
            on_warning: called with Dask's warnings, among them of peers that are refused.
        """
        self._ip, self._port, self._cluster, self._tls = ip, port, cluster, tls
        self._scheduler: Scheduler | None = None
        self._client: Any = None
        self._looking: asyncio.Future[None] | None = None
        self._forgetting: set[asyncio.Future[None]] = set()
        self._gone: dict[str, asyncio.Future[None]] = {}  # by worker that was asked something: its connection has ended
        self._logs = _DaskLogs(on_warning)
        self._closed = False

    async def open(self, on_worker: Callable[[str], None], on_worker_gone: Callable[[str], None]) -> None:
        """Open the scheduler, or join it; from here on the two are called with workers' addresses. Raises EngineError: it cannot be had."""
        self._logs.take()
        dask.config.set({**QUIET, "distributed.comm.timeouts.connect": "5s", "distributed.scheduler.allowed-failures": 0})
        options: dict[str, Any] = {"security": self._tls} if self._tls is not None else {}
        address = self._cluster

        def gone(worker: str) -> None:
            self._notify_gone(worker)
            on_worker_gone(worker)

        if address is None:
            protocol = "tls://" if self._tls is not None else "tcp://"
            try:
                self._scheduler = await QuietScheduler(
                    host=bracketed(self._ip),
                    port=self._port,
                    protocol=protocol,
                    dashboard=False,
                    plugins=[_WorkerObserver(on_worker, gone)],
                    **options,
                )
            except (OSError, RuntimeError) as failed:  # Dask wraps some
                why = failed if isinstance(failed, OSError) else failed.__cause__ or failed
                reason = getattr(why, "strerror", None) or why
                where = host_port(self._ip, self._port)
                raise EngineError(f"cannot listen at {where}: {reason}; is another run using it? (PORT)") from None
            address = self._scheduler.address
        try:
            self._client = await Client(address, asynchronous=True, set_as_default=False, timeout=ANSWER_S, **options)  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError, asyncio.TimeoutError) as why:
            raise EngineError(f"there is no Dask scheduler at {address} (CLUSTER): {why}") from None
        if self._scheduler is None:
            self._looking = asyncio.ensure_future(self._look(on_worker, gone))

    async def close(self) -> None:
        """End it, or leave it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await end_all([*self._forgetting, *([self._looking] if self._looking is not None else [])])
        with contextlib.suppress(Exception):  # whatever Dask says at its end, it is over
            if self._client is not None:
                await self._client.close(timeout=1)
        with contextlib.suppress(Exception):
            if self._scheduler is not None:
                await self._scheduler.close(reason="the network has ended")
        self._logs.give_back()

    def has(self, worker: str) -> bool:
        """Whether a worker is connected; an existing scheduler is believed to have it."""
        return self._scheduler is None or worker in self._scheduler.workers

    async def remove(self, worker: str) -> None:
        """Let a worker go: a service that returns must come with a new one."""
        if self._scheduler is not None and worker in self._scheduler.workers:
            with contextlib.suppress(Exception):  # it is gone, which is what was wanted
                await self._scheduler.remove_worker(worker, close=False, stimulus_id="fission-lost")

    async def ask(
        self, worker: str, order: Order, expected: type[Expected], blob: bytes = b"", wait: float | None = ANSWER_S
    ) -> Expected | OrderRefused:
        """Give an order to the service of a worker and return its answer; one that is late or malformed is a refusal.

        Args:
            worker: Dask's address of it.
            order: what to do.
            expected: class of the answer.
            blob: bytes that travel beside the order.
            wait: seconds for the answer; None: without end.

        Raises:
            EngineError: there is no connection, or it broke: whether the order has arrived is unknown.
        """
        if not worker or self._client is None or not self.has(worker):
            raise EngineError("the node is not connected")
        gone = self._gone.setdefault(worker, asyncio.get_running_loop().create_future())
        name = f"fission-{type(order).__name__}-{time.monotonic_ns()}"
        future = self._client.submit(run_order, wrap_order(order), blob, workers=[worker], pure=False, key=name)
        answering = asyncio.ensure_future(future)
        try:
            # a task for a worker that is gone when the scheduler hears of it waits for ever
            await asyncio.wait({answering, gone}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return _expected(answering.result(), expected)
            if gone.done():
                raise EngineError(f"the connection to the node at {worker} has ended")
            return OrderRefused(error=f"no answer for {wait:g} s")
        except (EngineError, asyncio.CancelledError):
            raise
        except Exception as why:  # Dask's own, of many kinds
            raise EngineError(f"the connection to the node at {worker} broke: {type(why).__name__}: {why}") from None
        finally:
            answering.cancel()
            if not self._closed:
                forgetting = asyncio.ensure_future(_cancelled(self._client, future))
                self._forgetting.add(forgetting)
                forgetting.add_done_callback(self._forgetting.discard)

    def _notify_gone(self, worker: str) -> None:
        gone = self._gone.pop(worker, None)
        if gone is not None and not gone.done():
            gone.set_result(None)

    async def _look(self, on_worker: Callable[[str], None], on_worker_gone: Callable[[str], None]) -> None:
        known: set[str] = set()
        while True:
            with contextlib.suppress(Exception):  # the scheduler is not ours, and may be away for a while
                there = set((await self._client.scheduler.identity())["workers"])
                for worker in there - known:
                    on_worker(worker)
                for worker in known - there:
                    on_worker_gone(worker)
                known = there
            await asyncio.sleep(LOOK_S)


def _expected(envelope: object, expected: type[Expected]) -> Expected | OrderRefused:
    try:
        answer = unwrap_answer(envelope)
    except RemoteProtocolError as why:
        return OrderRefused(error=str(why))
    if isinstance(answer, (expected, OrderRefused)):
        return answer
    return OrderRefused(error=f"it answers with {type(answer).__name__}, which must be {expected.__name__}")


async def _cancelled(client: Any, future: Any) -> None:
    with contextlib.suppress(Exception):  # only to be forgotten
        await client.cancel([future], force=True)
        future.release()


class _WorkerObserver(SchedulerPlugin):
    """Notifies of workers as they come and go."""

    name = "fission"

    def __init__(self, on_worker: Callable[[str], None], on_worker_gone: Callable[[str], None]) -> None:
        self._on_worker, self._on_worker_gone = on_worker, on_worker_gone

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Called by Dask."""
        self._on_worker(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Called by Dask."""
        self._on_worker_gone(worker)


class _DaskLogs(logging.Handler):
    """Takes Dask's warnings: a peer that is refused is one of them. Dask would show everything on the console.

    What it says of heartbeats, keys and stimuli means nothing to users: the engine reports on nodes in its own words.
    """

    def __init__(self, on_warning: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_warning = on_warning
        self._logger = logging.getLogger("distributed")
        self._before: list[logging.Handler] = []

    def take(self) -> None:
        """From now on."""
        self._before, self._logger.handlers = self._logger.handlers, [self]

    def give_back(self) -> None:
        """As it was."""
        if self in self._logger.handlers:
            self._logger.handlers = self._before

    def emit(self, record: logging.LogRecord) -> None:
        self._on_warning(record.getMessage())
