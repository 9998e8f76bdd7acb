"""The lines of the callback plugin, and what they mean for each host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fission.cli.host_lines import HostLines, status_of
from fission.provision.events import HostReport, HostUnreachable, PlaybookReport, TaskFailed, read_event
from fission.provision.faults import Attempt, explain
from fission.provision.places import PACKAGED
from fission.provision.playbook import PlaybookRun, run_playbook

#: Playbook of each command that restarts one host after another.
RUNS = {"restart": "restart", "renew": "servers"}


def report_of(*events: dict[str, object]) -> PlaybookReport:
    """Return the report after these events."""
    report = PlaybookReport()
    for values in events:
        event = read_event(json.dumps(values))
        assert event is not None, values
        report.handle(event)
    return report


def test_a_report_has_what_happened_on_each_host() -> None:
    report = report_of(
        {"event": "play", "play": "Set the hosts up"},
        {"event": "task", "task": "Log in"},
        {"event": "ok", "host": "a", "task": "Log in", "changed": False, "note": "its clock is wrong"},
        {"event": "unreachable", "host": "b", "task": "Log in", "text": "No route to host"},
        {"event": "ok", "host": "a", "task": "Install", "changed": True},
        {"event": "skipped", "host": "a", "task": "Restart"},
        {"event": "end", "hosts": {"a": {"ok": 2}, "b": {"unreachable": 1}}},
    )
    assert report.ended
    assert report.failed() == ["b"]
    assert report.hosts["a"] == HostReport(changes=["Install"], notes=["its clock is wrong"], task="Restart", play="Set the hosts up")


@pytest.mark.parametrize("command", ["restart", "renew"])
def test_hosts_that_a_failed_restart_leaves_out_do_not_count_as_restarted(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    play = next(play["name"] for play in yaml.safe_load((PACKAGED / f"playbooks/{RUNS[command]}.yml").read_text()) if "serial" in play)
    first = [{"event": "ok", "host": host, "task": "Log in", "changed": False} for host in "abc"]
    report = report_of(
        {"event": "play", "play": "Log in"},
        *first,
        {"event": "play", "play": play},
        {"event": "ok", "host": "a", "task": "Restart the service", "changed": True},
        {"event": "failed", "host": "b", "task": "Restart the service", "text": "Job for fission.service failed"},
        {"event": "end", "hosts": {}},
    )
    lines = HostLines(command, Attempt(), check=False, verbose=False, quiet=False)
    lines.finish(report)
    written = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in written] == ["a", "c"]
    assert written[1].startswith("c: not restarted: ")
    assert {host: found["ok"] for host, found in lines.as_json(report)["hosts"].items()} == {"a": True, "b": False, "c": False}


def test_hosts_that_need_no_restart_are_done_when_that_of_another_fails(capsys: pytest.CaptureFixture[str]) -> None:
    plays = [play["name"] for play in yaml.safe_load((PACKAGED / "playbooks/servers.yml").read_text())]
    due = {"a": ["due"], "b": ["due"], "c": []}
    report = report_of(
        {"event": "play", "play": plays[0]},
        *({"event": "ok", "host": host, "task": "Report", "changed": False, "result": {"restart": found}} for host, found in due.items()),
        {"event": "play", "play": plays[1]},
        {"event": "failed", "host": "a", "task": "Restart the service", "text": "Job for fission.service failed"},
        {"event": "end", "hosts": {}},
    )
    lines = HostLines("servers", Attempt(), check=False, verbose=False, quiet=False)
    lines.finish(report)
    assert capsys.readouterr().out.splitlines() == [
        "b: not restarted: it is set up, but the restart of another host failed; fix that one, then run this again",
        "c: ready, no change",
    ]
    assert {host: found["ok"] for host, found in lines.as_json(report)["hosts"].items()} == {"a": False, "b": False, "c": True}


def test_a_failure_has_its_text() -> None:
    report = report_of({"event": "failed", "host": "a", "task": "Install", "text": "No space left on device"})
    assert report.hosts["a"].failure == TaskFailed(host="a", task="Install", text="No space left on device")
    assert not report.ended


LOOP = """
- name: Copy
  hosts: all
  gather_facts: false
  tasks:
    - name: Copy a file
      ansible.builtin.copy:
        content: "{{ item }}"
        dest: /nowhere/file
        mode: "0644"
      loop: [1, 2]
"""


def test_a_host_that_is_lost_in_a_loop(tmp_path: Path) -> None:
    """Ansible says of it "All items completed", and why only of the items."""
    (tmp_path / "loop.yml").write_text(LOOP)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {cam: {ansible_host: 127.0.0.1, ansible_port: 9}}}\n")
    report = run_playbook(PlaybookRun(str(tmp_path / "loop"), tmp_path, inventory=str(tmp_path / "hosts.yml")), lambda event, report: None)
    failure = report.hosts["cam"].failure
    assert isinstance(failure, HostUnreachable)
    assert explain(failure, Attempt()).kind == "no_ssh", failure


@pytest.mark.parametrize("line", ["", "[WARNING]: Could not match", "{}", '{"event": "other"}', '{"event": "ok", "host": 1}', '"ok"'])
def test_other_lines_are_not_events(line: str) -> None:
    assert read_event(line) is None


@pytest.mark.parametrize(
    ("lines", "state", "since"),
    [
        (["LoadState=loaded", "ActiveState=active", "ActiveEnterTimestamp=Sun 12:00", "NRestarts=2"], "running", "Sun 12:00"),
        (["LoadState=loaded", "ActiveState=inactive", "ActiveEnterTimestamp=Sun 12:00", "NRestarts=2"], "stopped", ""),
        (["LoadState=not-found", "ActiveState=inactive", "NRestarts=2"], "not set up", ""),
    ],
)
def test_the_state_of_a_service(lines: list[str], state: str, since: str) -> None:
    found = status_of(HostReport(result={"service": lines, "installed": ["fission_networks-0.1.0-py3-none-any.whl"]}))
    assert found == {"state": state, "since": since, "restarts": 2, "installed": ["0.1.0"]}
