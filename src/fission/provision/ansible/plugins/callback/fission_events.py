"""Callback plugin of Ansible: writes what happens to standard output, one JSON object a line.

Run by ansible-playbook, not by FISSION; `fission.provision.events` reads the lines.
"""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: fission_events
    type: stdout
    short_description: one JSON object a line
    description:
        - Writes an object for each task, for each result of a host, and for the end.
"""

#: Characters of each text in a result; arbitrary: the reason is at the end of long ones.
LIMIT = 4000
TEXTS = ("msg", "stderr", "stdout", "module_stderr", "module_stdout", "exception")


class CallbackModule(CallbackBase):
    """The plugin; Ansible calls its methods."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "fission_events"

    def v2_playbook_on_play_start(self, play):
        self._write("play", play=str(play.get_name()))

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._write("task", task=_name(task))

    def v2_playbook_on_handler_task_start(self, task):
        self._write("task", task=_name(task))

    def v2_runner_on_ok(self, result):
        host, task, values = _parts(result)
        facts = values.get("ansible_facts")
        facts = facts if isinstance(facts, dict) else {}
        found = {name: facts[f"fission_{name}"] for name in ("note", "result") if f"fission_{name}" in facts}
        self._write("ok", host=host, task=task, changed=bool(values.get("changed")), **found)

    def v2_runner_on_skipped(self, result):
        host, task, _ = _parts(result)
        self._write("skipped", host=host, task=task)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        host, task, values = _parts(result)
        if not ignore_errors:
            self._write("failed", host=host, task=task, text=_text(values))

    def v2_runner_on_unreachable(self, result):
        host, task, values = _parts(result)
        self._write("unreachable", host=host, task=task, text=_text(values))

    def v2_playbook_on_no_hosts_matched(self):
        self._write("no_hosts")

    def v2_playbook_on_stats(self, stats):
        self._write("end", hosts={host: stats.summarize(host) for host in sorted(stats.processed)})

    def _write(self, event, **values):
        print(json.dumps({"event": event, **values}, default=str), flush=True)  # noqa: T201 - the output of this plugin


def _parts(result):
    # the attributes were private before ansible-core 2.19
    host, task, values = (getattr(result, name if hasattr(result, name) else f"_{name}") for name in ("host", "task", "result"))
    return str(host.get_name()), _name(task), values


def _name(task):
    return str(task.name or task.action)


def _text(values):
    results = values.get("results")  # of a loop: its own text does not say why
    items = [one for one in (results if isinstance(results, list) else []) if isinstance(one, dict)]
    found = [values, *(one for one in items if one.get("failed") or one.get("unreachable"))]
    texts = [str(one[name])[-LIMIT:] for one in found for name in TEXTS if one.get(name)]
    return "\n".join(dict.fromkeys(texts)) or "failed without a reason"
