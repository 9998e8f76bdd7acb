"""The Router: stores accepted pipelines, embeds the Dask scheduler, serves two addresses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.core.addresses import bracketed, host_port
from fission.errors import UserError
from fission.pipelines.daemon import protect_with, quiet_logger, read_keys, tls_of
from fission.pipelines.errors import DaemonError, StoreAway, StoreLost
from fission.pipelines.ports import PipelineStore
from fission.pipelines.router_api import RouterApi
from fission.pipelines.store_secrets import HOW, secrets_in
from fission.posix.signals import ending_signals_call
from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.router_to_broker import RouterAbout
from fission.protocol.messages.pipelines.wire import encode
from fission.protocol.pipeline_records import TaskEnd

if TYPE_CHECKING:
    from fission.adapters.zmq_api import ApiServer

#: Seconds between two checks of what time has changed.
TICK_S = 0.1
#: Seconds between two attempts to reach an unavailable store.
TRY_S = 0.5
#: Default of the config's ``monitoring interval``, in seconds.
MONITORING_S = 60


class Router:
    """The centre of a cluster; there is one.

    Accepted pipelines are in its database and survive it.
    """

    def __init__(
        self,
        api_host_port: tuple[str, int],
        broadcast_host_port: tuple[str, int],
        config: Mapping[str, Any],
        logger: logging.Logger | None = None,
        logger_name: str = "Router",
        *,
        state: str | None = None,
        scheduler_port: int = 0,
        keys: str | Path | None = None,
    ) -> None:
        """Prepare a Router; `start` opens its addresses.

        Args:
            api_host_port: interface (``*``: all) and port for requests.
            broadcast_host_port: interface and port for broadcasts.
            config: for all Brokers: ``store`` (dict of arguments of the StoreClass; no secrets if
                there are no keys), ``monitoring interval`` (seconds, default 60).
            logger: gets the log; None: nothing is logged.
            logger_name: name of the logger if none is given.
            state: database for pipelines: an SQLite file or a URL; None: the file
                ``router-PORT.sqlite`` in the current folder.
            scheduler_port: port of the Dask scheduler; 0: any free port.
            keys: folder of `fission keys`: encrypts, and admits only peers with the same keys;
                None: no encryption; every peer is admitted.

        Raises:
            DaemonError: an argument is malformed, or the keys cannot be used.
        """
        self._api = _address(api_host_port, "api_host_port")
        self._broadcast = _address(broadcast_host_port, "broadcast_host_port")
        self._host = "" if api_host_port[0] == "*" else bracketed(api_host_port[0])
        self._config = checked_config(config)
        self._state = state if state is not None else f"router-{api_host_port[1]}.sqlite"
        self._shown = f"the database {self._state}" if "://" not in self._state else "the database"  # a URL may have a password in it
        self._scheduler_port = scheduler_port
        self._keys = read_keys(keys)
        if self._keys is None and (names := secrets_in(self._config["store"])):
            raise DaemonError(
                f"config['store'] seems to contain a secret ({', '.join(names)}), which a Router without keys gives to every "
                f"client: give it to the Brokers instead ({HOW}), or use keys (fission keys)"
            )
        self.logger = logger if logger is not None else quiet_logger(logger_name)
        self._failure: Exception | None = None
        #: Whether Ctrl-C or SIGTERM has ended it.
        self.interrupted = False

    def start(self) -> None:
        """Serve until Ctrl-C or SIGTERM.

        Raises:
            DaemonError: an address is in use, or the database cannot be used.
            StoreLost: the database is damaged, gone, or used by another Router. A database that is
                only away is waited for.
        """
        from fission.adapters.sqlalchemy_store import SqlPipelines
        from fission.adapters.zmq_api import ApiServer

        try:
            server = ApiServer(self._api, self._broadcast, protect_with(self._keys, self.logger))
            try:
                store = SqlPipelines(self._state)
                try:
                    asyncio.run(self._serve(server, store))
                finally:
                    store.close()
            finally:
                server.close()
        except UserError as error:
            raise DaemonError(str(error)) from None
        except KeyboardInterrupt:
            self.interrupted = True
        if self._failure is not None:
            if isinstance(self._failure, StoreLost):
                raise self._failure
            raise StoreLost(f"the Router ends because {self._shown} cannot be written: {self._failure!r}") from self._failure

    async def _serve(self, server: ApiServer, store: Any) -> None:
        from fission.adapters.dask_pipelines import DaskCluster
        from fission.pipelines.pipeline_telemetry import traced

        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        with contextlib.ExitStack() as stack:
            stack.enter_context(ending_signals_call(loop, lambda: self._interrupt(stop)))
            pump = _Pump(self, server, stop)
            cluster = DaskCluster(pump.task_ends)
            try:
                port = await cluster.open(self._host, self._scheduler_port, security=tls_of(self._keys))
            except OSError as error:
                raise DaemonError(f"the Dask scheduler cannot use port {self._scheduler_port} of {self._host}: {error}") from None
            try:
                about = RouterAbout(router=uuid.uuid4().hex, scheduler_port=port)
                store = stack.enter_context(traced(store, self.logger, about.router))
                pump.store = store
                pump.api = RouterApi(
                    store,
                    cluster,
                    self._config,
                    say=pump.say,
                    announce=server.announce,
                    monotonic=time.monotonic,
                    wall=time.time,
                    about=about,
                    logger=self.logger,
                )
                self.logger.info("Entering main loop")
                loop.add_reader(server.fileno(), pump)
                stack.callback(loop.remove_reader, server.fileno())
                pump()
                while not stop.is_set():
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(stop.wait(), TICK_S)
                    pump.tick()
            finally:
                await cluster.close()

    def _interrupt(self, stop: asyncio.Event) -> None:
        self.interrupted = True
        self.logger.info("Got a signal to end, exiting.")
        stop.set()

    def failed(self, error: Exception) -> None:
        """Note that the Router cannot continue: its memory is ahead of the database, so only a new
        start is safe.
        """
        self._failure = error
        self.logger.critical("The Router ends: %s", error, exc_info=None if isinstance(error, StoreLost) else error)

    def store_away(self, reason: str) -> None:
        """Log that the database is unavailable. Call it once for each reason."""
        shown = self._shown[0].upper() + self._shown[1:]
        self.logger.error("%s is unavailable: %s; the Router waits for it; running jobs continue", shown, reason)

    def store_back(self) -> None:
        """Log that the database is available again; nothing is lost."""
        self.logger.info("%s is available again", self._shown[0].upper() + self._shown[1:])


class _Pump:
    """Moves messages between the sockets, the `RouterApi` and the cluster."""

    def __init__(self, router: Router, server: ApiServer, stop: asyncio.Event) -> None:
        self.api: RouterApi
        self.store: PipelineStore
        self._left: list[tuple[bytes, Callable[[bytes], None]]] = []  # requests that were received and are not performed
        self._away = ""  # why the store is unavailable
        self._next_try = 0.0
        self._router = router
        self._server = server
        self._stop = stop
        self._scheduled = False

    def __call__(self) -> None:
        """Perform requests until there are no more: the socket's descriptor is edge-triggered."""
        self._scheduled = False
        if self._stop.is_set():
            return
        try:
            if self._away:
                self._recover()
            while True:
                self._left += self._server.take()
                requests = len(self._left)
                while self._left:
                    self.api.message(*self._left[0])
                    del self._left[0]
                self.api.flush()
                if not requests:
                    return
        except StoreAway as error:
            if str(error) != self._away:
                self._router.store_away(str(error))
            self._away = str(error)
            self._next_try = max(self._next_try, time.monotonic())
        except Exception as error:
            self._router.failed(error)
            self._stop.set()

    def _recover(self) -> None:
        now = time.monotonic()
        if now < self._next_try:
            raise StoreAway(self._away)
        self._next_try = now + TRY_S
        self.store.recover()
        self.api.flush()  # a disk that is still full shows here
        self._away = ""
        self._router.store_back()

    def tick(self) -> None:
        self()  # first receive who is alive, then judge
        if not self._stop.is_set() and not self._away:
            self.api.tick()
            self()

    def task_ends(self, ends: Sequence[TaskEnd]) -> None:
        self.api.task_ends(ends)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self)

    def say(self, topic: str, message: Message) -> None:
        self._server.say(topic, encode(message))


def _address(given: Any, name: str) -> str:
    right = isinstance(given, (tuple, list)) and len(given) == 2 and isinstance(given[0], str)
    if not right or not isinstance(given[1], int) or not 0 < given[1] < 65536:
        raise DaemonError(f"{name} must be (host, port) with a port from 1 to 65535, such as ('*', 5555), but is {given!r}")
    return f"tcp://{host_port(*given)}"


def checked_config(config: Any) -> dict[str, Any]:
    """Return the config of a Router with its defaults, of JSON's types.

    Raises:
        DaemonError: it is malformed.
    """
    if not isinstance(config, Mapping):
        raise DaemonError(f"config must be a dict such as {{'store': {{...}}, 'monitoring interval': 60}}, but is {config!r}")
    found = {"store": {}, "monitoring interval": MONITORING_S, **config}
    if not isinstance(found["store"], Mapping) or not all(isinstance(name, str) for name in found["store"]):
        raise DaemonError(f"config['store'] must be a dict of arguments of the StoreClass, but is {found['store']!r}")
    interval = found["monitoring interval"]
    if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
        raise DaemonError(f"config['monitoring interval'] must be a number of seconds above 0, but is {interval!r}")
    try:
        loaded: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DaemonError(f"config must be of JSON's types: {error}") from None
    return loaded
