"""The Pipeliner: decides for the pipelines that it has leased which job runs after another one."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fission.errors import LocalProtocolError, RemoteProtocolError, UserError
from fission.pipelines.answers import ExchangeAnswer, exchange_answer
from fission.pipelines.daemon import ask, protect_with, quiet_logger, read_keys, sigterm_ends
from fission.pipelines.errors import DaemonError, KeysRefused, RouterAnswer, RouterUnreachable
from fission.protocol.dagrun import DagRun, End, Event, Instruction, Run

#: Jobs that run or wait for a process at a time, at least; with more processes, four for each. Arbitrary.
JOBS = 400
#: Seconds for an answer; the Router gives one at least every second.
ANSWER_S = 3.0
#: Seconds before the Router is asked again after an answer that cannot be used. Arbitrary.
PAUSE_S = 0.5


class Pipeliner:
    """Leases pipelines from the Router and drives them. As many as you like may run; each pipeline belongs to one at a time."""

    def __init__(
        self,
        api: str,
        broadcast: str,
        logger: logging.Logger | None = None,
        poll_time: int = 50,
        logger_name: str = "Pipeliner",
        *,
        keys: str | Path | None = None,
        jobs: int = JOBS,
    ) -> None:
        """Args:
        api, broadcast: the Router's addresses, ``tcp://HOST:PORT``.
        poll_time: kept for old scripts; the Router answers when there is something.
        keys: the Router's, the folder of `fission keys`; None: it has none.
        jobs: that it has running or waiting for a process at a time, at least; with more processes, four for each.
        """
        self._jobs = jobs
        self._api = api
        self._keys = read_keys(keys)
        self.logger = logger if logger is not None else quiet_logger(logger_name)
        self.poll_time = poll_time
        self._forget()
        #: Whether Ctrl-C or SIGTERM has ended it.
        self.interrupted = False

    def _forget(self) -> None:
        """Begin anew, as one that the Router does not know."""
        self._name = uuid.uuid4().hex
        self._number = self._processes = 0
        self._runs: dict[str, DagRun] = {}
        self._running: dict[str, int] = {}
        self._outbox: dict[str, list[list[Any]]] = {"run": [], "ended": []}

    def start(self) -> None:
        """Work until Ctrl-C or SIGTERM; the Router may come and go.

        Raises:
            DaemonError: the address cannot be one, or what answers there is no Router or has other keys.
        """
        from fission.adapters.zmq_api import ApiClient

        try:
            client = ApiClient(self._api, protect_with(self._keys))
        except UserError as error:
            raise DaemonError(str(error)) from None
        self.logger.info("Pipeliner started")
        try:
            with sigterm_ends():
                self.logger.info("Entering main loop")
                self._work(client)
        except KeyboardInterrupt:
            self.interrupted = True
            self.logger.info("Got a signal to end, exiting.")
            self._leave(client)
        finally:
            client.close()

    def _work(self, client: Any) -> None:
        trouble, met = "", False
        while True:
            try:
                answer = ask(client, self._api, self.request(), ANSWER_S, again=ANSWER_S)
            except RouterUnreachable as error:
                refused = isinstance(error, KeysRefused)
                if refused and not met:
                    raise DaemonError(str(error)) from None
                trouble = self._complain(str(error) if refused else "The Router does not answer", trouble, pause=False)
                continue
            except RouterAnswer as error:
                if not met:
                    raise DaemonError(str(error)) from None
                trouble = self._complain(f"The Router: {error}", trouble)
                continue
            try:
                self.answered(answer)
            except RemoteProtocolError as error:
                trouble = self._complain(f"The Router's answer cannot be understood: {error}", trouble)
                continue
            if trouble:
                self.logger.info("The Router is back")
            trouble, met = "", True

    def request(self) -> dict[str, Any]:
        """The next exchange; the same until it is answered."""
        room = max(self._jobs, 4 * self._processes) - sum(self._running.values())
        return {"command": "exchange", "pipeliner": self._name, "number": self._number + 1, "room": max(0, room), **self._outbox}

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Take the Router's answer to `request`.

        Raises:
            RemoteProtocolError: it is malformed; nothing has changed.
        """
        if answer.get("answer") == "unknown pipeliner":
            self._forget()
            return
        understood = exchange_answer(answer, self._number + 1)
        self._number += 1
        self._outbox = {"run": [], "ended": []}
        self._processes = understood.processes
        self._take(understood)

    def _take(self, answer: ExchangeAnswer) -> None:
        # in the order in which they happened: what was cancelled and run again is a new pipeline
        for name, event in answer.events:
            self._handle(name, event)
        for name in answer.cancelled:
            self._forget_pipeline(name)
            for kind, rows in self._outbox.items():
                self._outbox[kind] = [row for row in rows if row[0] != name]
        for name, run in answer.pipelines.items():
            self._runs[name] = run
            try:
                self._perform(name, run.begin())
            except LocalProtocolError as error:
                self.logger.error("Pipeline %s: %s", name, error)

    def _complain(self, trouble: str, before: str, *, pause: bool = True) -> str:
        """Log it if it is news; *pause*: the Router has answered at once, and would again."""
        if trouble != before:
            self.logger.warning("%s; asking again", trouble)
        if pause:
            time.sleep(PAUSE_S)
        return trouble

    def _forget_pipeline(self, name: str) -> None:
        self._runs.pop(name, None)
        self._running.pop(name, None)

    def _handle(self, name: str, event: Event) -> None:
        run = self._runs.get(name)
        if run is None:
            return
        try:
            self._perform(name, run.handle(event))
        except LocalProtocolError as error:
            self.logger.error("Pipeline %s: %s", name, error)

    def _perform(self, name: str, orders: list[Instruction]) -> None:
        for order in orders:
            if isinstance(order, Run):
                self._outbox["run"].append([name, order.job, order.attempt])
        run = self._runs[name]
        self._running[name] = run.count
        if run.over:
            self._forget_pipeline(name)
            for order in orders:
                if isinstance(order, End):
                    self._outbox["ended"].append([name, order.state.name.lower(), order.failed, order.error])

    def _leave(self, client: Any) -> None:
        from fission.pipelines.messages import encode

        message = {"command": "exchange", "pipeliner": self._name, "number": self._number + 1, "leave": True, **self._outbox}
        client.request(encode(message), 0.5, again=0.5)
