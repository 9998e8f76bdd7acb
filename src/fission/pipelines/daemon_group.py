"""Router, Broker and Pipeliner on one machine, each in a process that starts again when it dies; and
their page.
"""

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

#: Seconds before a dead daemon is started again. Arbitrary.
BACK_OFF_S = 0.2
#: Seconds after which daemons that do not end are killed.
END_S = 5.0
#: Exit code of a daemon that cannot start with its arguments: it is not started again.
HOPELESS = 77
#: Name of the page among the daemons.
PAGE = "page"


class DaemonGroup:
    """See the module."""

    def __init__(
        self,
        *,
        router: Callable[[], Any],
        broker: Callable[[], Any],
        pipeliner: Callable[[], Any],
        page: Callable[[], Any] | None = None,
        api: str,
        keys: str | Path | None = None,
        number: int,
        say: Callable[[str], None],
    ) -> None:
        """Prepare; `run` starts the daemons.

        Args:
            router: makes the Router, in its process.
            broker: makes the Broker, in its process.
            pipeliner: makes the Pipeliner, in its process.
            page: makes their page, in its process; the others run also if it cannot be served.
                None: there is no page.
            api: the Router's address for requests.
            keys: of the daemons.
            number: of worker processes.
            say: prints a line for the user.
        """
        self._makers = {"Router": router, "Broker": broker, "Pipeliner": pipeliner}
        if page is not None:
            self._makers[PAGE] = page
        self._api = api
        self._keys = read_keys(keys)
        self._number = number
        self._say = say
        self._pids: dict[int, str] = {}

    def run(self) -> None:
        """Run the daemons until Ctrl-C or SIGTERM.

        Raises:
            DaemonError: a daemon cannot start; it has printed why.
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
        """Be this daemon, in a process of its own."""
        die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the parent, which ends its children
        unblock_ending_signals()
        try:
            self._makers[name]().start()
        except FissionError as error:
            sys.stderr.write(f"Warning: the page is not served: {error}\n" if name == PAGE else f"Error: {error}\n")
            sys.exit(HOPELESS if isinstance(error, UserError) else 1)

    def _collect(self, *, block: bool) -> None:
        """Start a dead daemon again."""
        try:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            raise DaemonError("none of the daemons is left") from None
        name = self._pids.pop(pid, None)
        if name is None:
            return
        code = os.waitstatus_to_exitcode(status)
        if code == HOPELESS and name == PAGE:
            return
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
    """Load once what each daemon needs, so that all of them start, and start again, at once.

    Start no thread.
    """
    import fission.adapters.dask_pipelines
    import fission.adapters.sqlalchemy_store  # noqa: F401
