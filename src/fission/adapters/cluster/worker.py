"""A node's side of Dask: a worker in the service's own process, recreated whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

import dask
from distributed import Worker
from distributed.security import Security

from fission.adapters.cluster.quiet import QUIET, QuietWorker
from fission.adapters.cluster.tasks import HandleOrder, ServicePlugin
from fission.core.addresses import bracketed, host_port, split_host_port

#: Seconds of the first and the longest pause between attempts to reach the client; arbitrary.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
#: Seconds after which the same warning is logged again; arbitrary.
WARN_AGAIN_S = 60.0
#: Seconds for the answer to a probe of the scheduler; arbitrary.
KNOCK_S = 5.0
#: Bytes with which Dask's listeners greet a peer that connects: the length of what follows.
GREETING_BYTES = 8
_OTHER_KEYS = "its keys are not this node's, or it does not encrypt"
_SILENT = "its handshake is not a client's; check that its SECURITY matches this service's keys"
#: Dask's timeout for connecting. Within it Dask retries, with pauses that double up to the timeout: half the time
#: makes a node find its client sooner. Arbitrary, but a lost packet of the handshake costs 1 s.
CONNECT = "2s"
#: Orders that may run at once: each is a coroutine that waits until a job has ended.
ORDERS = 10_000
#: Seconds that a worker has for an orderly end; its work is of no use by then.
LEAVE_S = 0.5

log = logging.getLogger("fission.node")


def security(ca_file: str, cert_file: str, key_file: str) -> Security:
    """Return Dask's settings for TLS with the network's certificate on both sides."""
    return Security(  # type: ignore[no-untyped-call]
        require_encryption=True,
        tls_ca_file=ca_file,
        tls_scheduler_cert=cert_file,
        tls_scheduler_key=key_file,
        tls_worker_cert=cert_file,
        tls_worker_key=key_file,
        tls_client_cert=cert_file,
        tls_client_key=key_file,
    )


class ClusterWorker:
    """Keeps a Dask worker connected to a scheduler."""

    def __init__(self, name: str, folder: str, handle: HandleOrder, tls: Security | None, on_lost: Callable[[], None]) -> None:
        """Prepare; `run` connects.

        Args:
            name: name of the node.
            folder: folder for Dask's own files.
            handle: function that executes orders.
            tls: encryption of the connection; None disables encryption.
            on_lost: called when a connection has ended.
        """
        self._address, self._ip, self._name, self._folder = "", "", name, folder
        self._warned: dict[str, float] = {}  # monotonic time of each warning
        self._handle, self._tls, self._on_lost = handle, tls, on_lost
        self._worker: Worker | None = None
        self._count = 0
        self._refused = ""

    @property
    def connected(self) -> bool:
        """Whether the scheduler has accepted the worker, as far as this side knows."""
        return self._worker is not None and self._worker.status.name == "running"

    def retarget(self, client: str, port: int, own: str) -> None:
        """Set the addresses for the next connection, which `drop` triggers.

        Args:
            client: address of the scheduler.
            port: port of the scheduler.
            own: address of this machine that reaches the scheduler.
        """
        self._address, self._ip = f"{'tcp' if self._tls is None else 'tls'}://{host_port(client, port)}", own

    async def run(self) -> None:
        """Connect, and reconnect after each loss, until cancelled. Requires `retarget`."""
        dask.config.set({**QUIET, "distributed.worker.memory.spill": False, "distributed.comm.timeouts.connect": CONNECT})
        pause_s = FIRST_PAUSE_S
        while True:
            if not await self._knock():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            self._count += 1
            try:
                async with self._made() as self._worker:
                    log.info("connected to the client at %s", self._address)
                    pause_s = FIRST_PAUSE_S
                    await self._worker.finished()
            except asyncio.CancelledError:
                await self.drop()
                raise
            except Exception as why:  # whatever Dask raises, the next attempt may succeed
                self._warn(f"no connection to the client at {self._address}: {str(why).strip() or type(why).__name__}")
            else:
                log.info("the connection to the client has ended")
            self._worker = None
            self._on_lost()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _knock(self) -> bool:
        """Return whether a scheduler is present that would accept a worker.

        Dask itself would retry forever and not report why it fails.
        """
        host, port = split_host_port(self._address)
        context = self._tls.get_connection_args("worker")["ssl_context"] if self._tls is not None else None  # type: ignore[no-untyped-call]
        writer, why = None, ""
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port), ssl=context), KNOCK_S)
            await asyncio.wait_for(reader.readexactly(GREETING_BYTES), KNOCK_S)
        except ssl.SSLError:
            why = _OTHER_KEYS
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            if writer is None:
                return False  # no scheduler is there yet
            why = _SILENT
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):  # its answer has already been received
                    await writer.wait_closed()
        if why and why != self._refused:
            log.warning("no connection to the client at %s: %s", self._address, why)
        self._refused = why
        return not why

    def _warn(self, text: str) -> None:
        """Log a warning, at most once a minute for the same text."""
        now = time.monotonic()
        if now - self._warned.get(text, -WARN_AGAIN_S) >= WARN_AGAIN_S:
            self._warned = {known: at for known, at in self._warned.items() if now - at < WARN_AGAIN_S} | {text: now}
            log.warning("%s", text)

    def _made(self) -> Worker:
        options: dict[str, Any] = {"security": self._tls} if self._tls is not None else {}
        return QuietWorker(
            self._address,
            nthreads=ORDERS,
            name=f"{self._name} #{self._count}",
            host=bracketed(self._ip),
            dashboard=False,
            memory_limit=0,
            local_directory=self._folder,
            heartbeat_interval="500ms",
            plugins=(ServicePlugin(self._handle),),
            **options,
        )

    async def drop(self) -> None:
        """Close the current connection; `run` opens another one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(Exception):  # it may be closing by itself and raise any error
                await asyncio.wait_for(worker.close(timeout=LEAVE_S, nanny=False), 4 * LEAVE_S)
