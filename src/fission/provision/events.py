"""What ansible-playbook reports, a JSON object a line, and what it means for each host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

#: The play that restarts one host after another. Ansible ends it with the first host that fails.
RESTARTS = "Restart the services, one after another"


class PlayStarted(msgspec.Struct, tag_field="event", tag="play", frozen=True):
    """A play begins."""

    play: str


class TaskStarted(msgspec.Struct, tag_field="event", tag="task", frozen=True):
    """A task begins on all hosts."""

    task: str


class TaskDone(msgspec.Struct, tag_field="event", tag="ok", frozen=True):
    """A host has done a task.

    Attributes:
        note: sentence for the user; empty: none.
        result: what the playbook found out about the host; None: nothing.
    """

    host: str
    task: str
    changed: bool
    note: str = ""
    result: dict[str, list[str]] | None = None


class TaskSkipped(msgspec.Struct, tag_field="event", tag="skipped", frozen=True):
    """A host does not need a task."""

    host: str
    task: str


class TaskFailed(msgspec.Struct, tag_field="event", tag="failed", frozen=True):
    """A host has failed; it gets no further tasks. The text has all that Ansible reports."""

    host: str
    task: str
    text: str


class HostUnreachable(msgspec.Struct, tag_field="event", tag="unreachable", frozen=True):
    """A host cannot be reached; it gets no further tasks."""

    host: str
    task: str
    text: str


class NoHosts(msgspec.Struct, tag_field="event", tag="no_hosts", frozen=True):
    """The group has no hosts."""


class PlaybookEnded(msgspec.Struct, tag_field="event", tag="end", frozen=True):
    """All hosts are done. Hosts with their numbers of results of each kind."""

    hosts: dict[str, dict[str, int]]


PlaybookEvent: TypeAlias = PlayStarted | TaskStarted | TaskDone | TaskSkipped | TaskFailed | HostUnreachable | NoHosts | PlaybookEnded
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(PlaybookEvent)


def read_event(line: str | bytes) -> PlaybookEvent | None:
    """Return the event of a line; None: the line has none (a warning of Ansible, for example)."""
    try:
        event: PlaybookEvent = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return event


@dataclass
class HostReport:
    """What happened on one host so far.

    Attributes:
        failure: the event that ended its part; None: it did not fail.
        changes: names of the tasks that changed something, in order.
        notes: sentences for the user.
        result: what the playbook found out about it.
        task: the task that it did last.
        play: the play of that task.
    """

    failure: TaskFailed | HostUnreachable | None = None
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    result: dict[str, list[str]] = field(default_factory=dict)
    task: str = ""
    play: str = ""


@dataclass
class PlaybookReport:
    """What happened on all hosts so far.

    Attributes:
        hosts: by their names in the inventory, in the order of their first results.
        ended: whether the playbook has come to its end.
        play: the present play.
        task: the present task.
    """

    hosts: dict[str, HostReport] = field(default_factory=dict)
    ended: bool = False
    play: str = ""
    task: str = ""

    def handle(self, event: PlaybookEvent) -> None:
        """Take the next event into account."""
        match event:
            case PlayStarted():
                self.play = event.play
            case TaskStarted():
                self.task = event.task
            case TaskDone():
                host = self._report_of(event.host, event.task)
                if event.changed:
                    host.changes.append(event.task)
                if event.note:
                    host.notes.append(event.note)
                host.result.update(event.result or {})
            case TaskSkipped():
                self._report_of(event.host, event.task)
            case TaskFailed() | HostUnreachable():
                self._report_of(event.host, event.task).failure = event
            case PlaybookEnded():
                self.ended = True
            case NoHosts():
                pass

    def failed(self) -> Sequence[str]:
        """Return the names of the hosts that failed."""
        return [name for name, host in self.hosts.items() if host.failure is not None]

    def not_restarted(self) -> Sequence[str]:
        """Return the names of the hosts that a failed restart of another host has left out."""
        if not any(host.failure is not None and host.play == RESTARTS for host in self.hosts.values()):
            return []
        left = [name for name, host in self.hosts.items() if host.failure is None and host.play != RESTARTS]
        return [name for name in left if self.hosts[name].result.get("restart") != []]  # not those that need none

    def _report_of(self, name: str, task: str) -> HostReport:
        host = self.hosts.setdefault(name, HostReport())
        host.task, host.play = task, self.play
        return host
