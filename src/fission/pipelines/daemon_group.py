"""Router, Broker and Pipeliner of one machine, each in a process that is started again when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fission.errors import FissionError, UserError
from fission.pipelines.daemon import ask, protect_with, read_keys, sigterm_ends
from fission.pipelines.errors import DaemonError, RouterAnswer, RouterUnreachable
from fission.posix.exit_status import how_ended
from fission.posix.forking import die_with_parent, forked, unblock_ending_signals
from fission.protocol.messages.pipelines.client_to_router import GetRouterStatus
from fission.protocol.messages.pipelines.router_to_client import RouterStatus

#: Seconds before one that died is started again. Arbitrary.
BACK_OFF_S = 0.2
#: Seconds that they get to end in order.
END_S = 5.0
#: Exit code of a daemon that cannot start with what it was given: it is not started again.
HOPELESS = 77


class DaemonGroup:
    """See the head of this file."""

    def __init__(
        self,
        *,
        router: Callable[[], Any],
        broker: Callable[[], Any],
        pipeliner: Callable[[], Any],
        api: str,
        keys: str | Path | None = None,
        number: int,
        say: Callable[[str], None],
    ) -> None:
        """Args: router, broker, pipeliner: make the daemons, in their processes. api: where the Router answers.

        keys: what they were given. number: of worker processes. say: for people.
        """
        self._makers = {"Router": router, "Broker": broker, "Pipeliner": pipeliner}
        self._api = api
        self._keys = read_keys(keys)
        self._number = number
        self._say = say
        self._pids: dict[int, str] = {}

    def run(self) -> None:
        """Until Ctrl-C or SIGTERM.

        Raises:
            DaemonError: one of them cannot start; it has said why.
        """
        try:
            with sigterm_ends():
                _load()
                for name in self._makers:
                    self._fork(name)
                self._wait_until_ready()
                while True:
                    self._collect(block=True)
        except KeyboardInterrupt:
            pass
        finally:
            self._end()

    def _fork(self, name: str) -> None:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pids[forked(lambda: self._live(name, parent))] = name

    def _live(self, name: str, parent: int) -> None:
        """In a process of its own: be that daemon."""
        die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for our parent, which ends us
        unblock_ending_signals()
        try:
            self._makers[name]().start()
        except FissionError as error:
            sys.stderr.write(f"Error: {error}\n")
            sys.exit(HOPELESS if isinstance(error, UserError) else 1)

    def _collect(self, *, block: bool) -> None:
        """Starts again who has died."""
        try:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            raise DaemonError("none of the daemons is left") from None
        name = self._pids.pop(pid, None)
        if name is None:
            return
        code = os.waitstatus_to_exitcode(status)
        if code == HOPELESS:
            raise DaemonError(f"the {name} cannot start")
        self._say(f"The {name} {how_ended(code)}; starting it again")
        time.sleep(BACK_OFF_S)
        self._fork(name)

    def _wait_until_ready(self) -> None:
        from fission.adapters.zmq_api import ApiClient

        client = ApiClient(self._api.replace("*", "127.0.0.1"), protect_with(self._keys))
        try:
            while True:
                self._collect(block=False)
                with contextlib.suppress(RouterUnreachable, RouterAnswer):
                    status = ask(client, self._api, GetRouterStatus(), RouterStatus, 0.5, again=0.2)
                    if status.processes >= self._number and status.pipeliners:
                        names = ", ".join(sorted(status.workers))
                        several = "process" if self._number == 1 else "processes"
                        self._say(f"Ready at {self._api}: {self._number} worker {several} with {names}. Ctrl-C ends.")
                        return
                time.sleep(0.02)
        finally:
            client.close()

    def _end(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while self._pids:
            with contextlib.suppress(ChildProcessError):
                pid, _ = os.waitpid(-1, os.WNOHANG)
                self._pids.pop(pid, None)
                if pid:
                    continue
            if time.monotonic() > deadline:
                for pid in self._pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _load() -> None:
    """Loads once what the daemons would load each, so that they start, and start again, at once. Starts no thread."""
    import fission.adapters.dask_pipelines
    import fission.adapters.sqlalchemy_store  # noqa: F401
