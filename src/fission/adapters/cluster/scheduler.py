"""The client's side of Dask: a new or an existing scheduler, and orders to the nodes' services."""

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

#: Seconds between two checks of an existing scheduler's workers; arbitrary.
LOOK_S = 0.25
#: Seconds that a node has to answer an order; arbitrary.
ANSWER_S = 10.0

Expected = TypeVar("Expected", bound=Message)

log = logging.getLogger("fission.cluster")


class DaskScheduler:
    """Connects the client to Dask workers."""

    def __init__(
        self, ip: str, port: int, cluster: str | None, tls: Security | None, on_warning: Callable[[str], None] = lambda text: None
    ) -> None:
        """Prepare; `open` starts or joins the scheduler.

        Args:
            ip: address on which a new scheduler listens.
            port: port on which a new scheduler listens.
            cluster: address of an existing scheduler; None starts one in this process.
            tls: encryption of the connections; None disables encryption.
            on_warning: called with Dask's warnings, including those about refused peers.
        """
        self._ip, self._port, self._cluster, self._tls = ip, port, cluster, tls
        self._scheduler: Scheduler | None = None
        self._client: Any = None
        self._looking: asyncio.Future[None] | None = None
        self._forgetting: set[asyncio.Future[None]] = set()
        self._gone: dict[str, asyncio.Future[None]] = {}  # by worker that was sent an order: done when its connection has ended
        self._logs = _DaskLogs(on_warning)
        self._closed = False

    async def open(self, on_worker: Callable[[str], None], on_worker_gone: Callable[[str], None]) -> None:
        """Start or join the scheduler.

        Args:
            on_worker: called with the address of each worker that connects.
            on_worker_gone: called with the address of each worker that disconnects.

        Raises:
            EngineError: the scheduler cannot start or cannot be reached.
        """
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
            except (OSError, RuntimeError) as failed:  # Dask wraps some of them
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
        """Stop this process's scheduler, or leave the existing one. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await end_all([*self._forgetting, *([self._looking] if self._looking is not None else [])])
        with contextlib.suppress(Exception):  # errors of Dask's shutdown have no consequences
            if self._client is not None:
                await self._client.close(timeout=1)
        with contextlib.suppress(Exception):
            if self._scheduler is not None:
                await self._scheduler.close(reason="the network has ended")
        self._logs.give_back()

    def has(self, worker: str) -> bool:
        """Return whether a worker is connected; always true with an existing scheduler."""
        return self._scheduler is None or worker in self._scheduler.workers

    async def remove(self, worker: str) -> None:
        """Disconnect a worker: a service that returns must open a new connection."""
        if self._scheduler is not None and worker in self._scheduler.workers:
            with contextlib.suppress(Exception):  # it is already gone, as intended
                await self._scheduler.remove_worker(worker, close=False, stimulus_id="fission-lost")

    async def ask(
        self, worker: str, order: Order, expected: type[Expected], blob: bytes = b"", wait: float | None = ANSWER_S
    ) -> Expected | OrderRefused:
        """Send an order to the service of a worker and return its answer.

        A late or malformed answer counts as a refusal.

        Args:
            worker: Dask's address of the worker.
            order: order to send.
            expected: class of the answer.
            blob: bytes that accompany the order.
            wait: seconds to wait for the answer; None waits without limit.

        Raises:
            EngineError: there is no connection, or it broke and the order may or may not have
                arrived.
        """
        if not worker or self._client is None or not self.has(worker):
            raise EngineError("the node is not connected")
        gone = self._gone.setdefault(worker, asyncio.get_running_loop().create_future())
        name = f"fission-{type(order).__name__}-{time.monotonic_ns()}"
        future = self._client.submit(run_order, wrap_order(order), blob, workers=[worker], pure=False, key=name)
        answering = asyncio.ensure_future(future)
        try:
            # if the worker is gone when the scheduler receives its task, the task waits forever
            await asyncio.wait({answering, gone}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return _expected(answering.result(), expected)
            if gone.done():
                raise EngineError(f"the connection to the node at {worker} has ended")
            return OrderRefused(error=f"no answer for {wait:g} s")
        except (EngineError, asyncio.CancelledError):
            raise
        except Exception as why:  # Dask raises many kinds of errors
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
            with contextlib.suppress(Exception):  # the scheduler belongs to another process and may be away for a while
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
    return OrderRefused(error=f"its answer must be {expected.__name__}, but is {type(answer).__name__}")


async def _cancelled(client: Any, future: Any) -> None:
    with contextlib.suppress(Exception):  # the result is of no interest
        await client.cancel([future], force=True)
        future.release()


class _WorkerObserver(SchedulerPlugin):
    """Reports workers that connect and disconnect."""

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
    """Takes over Dask's warnings, including those about refused peers.

    Dask would print all of them on the console. Its messages about heartbeats, keys and stimuli
    mean nothing to users: the engine reports on nodes in its own words.
    """

    def __init__(self, on_warning: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_warning = on_warning
        self._logger = logging.getLogger("distributed")
        self._before: list[logging.Handler] = []

    def take(self) -> None:
        """Take over Dask's log from now on."""
        self._before, self._logger.handlers = self._logger.handlers, [self]

    def give_back(self) -> None:
        """Restore Dask's log."""
        if self in self._logger.handlers:
            self._logger.handlers = self._before

    def emit(self, record: logging.LogRecord) -> None:
        self._on_warning(record.getMessage())
