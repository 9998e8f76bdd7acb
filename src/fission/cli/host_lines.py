"""What ``fission provision`` writes: one line for each host, and the progress on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fission.provision.events import HostReport, HostUnreachable, PlaybookEvent, PlaybookReport, TaskFailed
    from fission.provision.faults import Attempt

#: Words for a host that did not fail, by command: (nothing changed, something changed).
DONE = {
    "servers": ("ready, no change", "ready"),
    "renew": ("ready, no change", "renewed"),
    "start": ("was running, no change", "started"),
    "stop": ("was stopped, no change", "stopped"),
    "restart": ("restarted", "restarted"),
    "client": ("ready, no change", "ready"),
    "remove": ("nothing to remove, no change", "removed"),
}
_FIX = "the restart of another host failed; fix that one, then run this again"
#: What is said of hosts that were left out because the restart of another one failed, by command.
NOT_RESTARTED = {"restart": _FIX, **dict.fromkeys(("servers", "renew"), f"it is set up, but {_FIX}")}
#: States of systemd's units in other words.
STATES = {"active": "running", "inactive": "stopped", "failed": "failed", "activating": "starting", "deactivating": "stopping"}


class HostLines:
    """Writes the lines of one command.

    Args:
        command: the command.
        attempt: how it was called.
        check: whether nothing was changed.
        verbose: whether to show details.
        quiet: whether to write nothing, because the output is JSON.
    """

    def __init__(self, command: str, attempt: Attempt, *, check: bool, verbose: bool, quiet: bool) -> None:
        self._command, self._attempt = command, attempt
        self._check, self._verbose, self._quiet = check, verbose, quiet
        self._status: Any = None

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Show the present task on a terminal."""
        from rich.console import Console

        console = Console(stderr=True)
        if self._quiet or not console.is_terminal:
            yield
            return
        self._status = console.status("")
        try:
            yield
        finally:
            self._status.stop()

    def on_event(self, event: PlaybookEvent, report: PlaybookReport) -> None:
        """Show a failure at once, because other hosts may take minutes."""
        from fission.provision.events import HostUnreachable, TaskFailed, TaskStarted

        if self._quiet:
            return
        if isinstance(event, TaskStarted) and self._status is not None:
            self._status.update(event.task)
            self._status.start()  # not before the first task: Ansible may have asked for passwords
        if isinstance(event, (TaskFailed, HostUnreachable)):
            self._failure(event)

    def finish(self, report: PlaybookReport) -> None:
        """Write the lines of the hosts that did not fail, or JSON."""
        left_out = report.not_restarted() if self._command in NOT_RESTARTED else ()
        for name, host in sorted(report.hosts.items()):
            if name in left_out:
                click.echo(f"{name}: {click.style('not restarted', fg='red')}: {NOT_RESTARTED[self._command]}")
            elif host.failure is None:
                for line in self._lines(host):
                    click.echo(f"{name}: {line}")
                for note in host.notes:
                    click.echo(f"{name}: note: {note}")

    def as_json(self, report: PlaybookReport) -> dict[str, Any]:
        """Return the outcome for ``--json``."""
        hosts = {name: self._host_as_json(host) for name, host in sorted(report.hosts.items())}
        for name in report.not_restarted() if self._command in NOT_RESTARTED else ():
            hosts[name]["ok"] = False
        return {"command": self._command, "check": self._check, "ok": not report.failed(), "hosts": hosts}

    def _failure(self, event: TaskFailed | HostUnreachable) -> None:
        from fission.provision.faults import explain

        click.echo(f"{event.host}: {click.style('failed', fg='red')}: {explain(event, self._attempt)}")
        if self._verbose:
            click.echo(f"{event.host}: {event.task}\n" + "\n".join(f"  {line}" for line in event.text.splitlines()))

    def _lines(self, host: HostReport) -> Iterator[str]:
        if self._command == "logs":
            yield from host.result.get("log", [])
        elif self._command == "status":
            yield _state(status_of(host))
        else:
            unchanged, changed = DONE[self._command]
            count = len(host.changes)
            if self._check:
                yield f"would change: {', '.join(host.changes)}" if count else "no change"
            else:
                yield f"{changed}, {count} change{'s' if count > 1 else ''}" if count else unchanged
                if self._verbose:
                    yield from (f"changed: {task}" for task in host.changes)

    def _host_as_json(self, host: HostReport) -> dict[str, Any]:
        from fission.provision.faults import explain

        found: dict[str, Any] = {"ok": host.failure is None}
        if host.failure is not None:
            why = explain(host.failure, self._attempt)
            return {
                **found,
                "kind": why.kind,
                "error": why.what,
                "remedy": why.remedy,
                "task": host.failure.task,
                "text": host.failure.text,
            }
        if self._command == "logs":
            return {**found, "log": host.result.get("log", [])}
        if self._command == "status":
            return {**found, **status_of(host)}
        return {**found, "changed": list(host.changes), "notes": list(host.notes)}


def status_of(host: HostReport) -> dict[str, Any]:
    """Return what ``status`` has found out about a host.

    Keys: state (running, stopped, failed, starting, stopping, or "not set up"), since (text; empty:
    it does not run), restarts (number), installed (versions of FISSION), and status if the service
    runs or starts and has reported one.
    """
    values = dict(line.partition("=")[::2] for line in host.result.get("service", []))
    loaded = values.get("LoadState") == "loaded"
    state = STATES.get(values.get("ActiveState", ""), values.get("ActiveState", "")) if loaded else "not set up"
    installed = [wheel.split("-")[1] if wheel.count("-") else wheel for wheel in host.result.get("installed", [])]
    found = {
        "state": state,
        "since": values.get("ActiveEnterTimestamp", "") if state == "running" else "",
        "restarts": int(values.get("NRestarts", "0") or 0),
        "installed": installed,
    }
    works = state in ("running", "starting")  # systemd keeps the text of a service that has ended
    return {**found, "status": values["StatusText"]} if works and values.get("StatusText") else found


def _state(status: dict[str, Any]) -> str:
    parts = [status["state"] + (f" since {status['since']}" if status["since"] else "")]
    parts += [f"FISSION {', '.join(status['installed'])}"] if status["installed"] else []
    parts += [f"restarted {status['restarts']} times after a failure"] if status["restarts"] else []
    parts += [status["status"]] if "status" in status else []
    return ", ".join(parts)
