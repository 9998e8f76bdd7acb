"""Runs a playbook of FISSION with ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fission.errors import EngineError, UserError
from fission.provision.events import NoHosts, PlaybookEvent, PlaybookReport, read_event
from fission.provision.places import HOSTS, PACKAGED, program

#: Hosts at the same time; arbitrary, as they wait for their disks and networks.
FORKS = 20
#: Ansible's own, and: a host that loses its power meanwhile is given up after half a minute.
SSH_ARGS = "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=10 -o ServerAliveCountMax=3"
#: Without them, an inventory that cannot be read counts as one without hosts, and of two hosts with the same name the first is forgotten.
STRICT = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error"}
#: Characters of ansible-playbook's own errors that are kept; arbitrary.
ERROR_CHARACTERS = 20_000


@dataclass(frozen=True)
class PlaybookRun:
    """A playbook to run.

    Attributes:
        name: name of the playbook, such as "servers".
        folder: ``ansible/`` of the project; it need not exist if there is an ``inventory``.
        limit: hosts, as a pattern of Ansible; empty: all.
        inventory: hosts, as Ansible's command line takes them; empty: those of the folder.
        check: whether to report only what would change.
        ask_pass: whether Ansible asks for the ssh password.
        ask_become_pass: whether Ansible asks for the sudo password.
        variables: variables of the playbook; they take precedence over all files.
    """

    name: str
    folder: Path
    limit: str = ""
    inventory: str = ""
    check: bool = False
    ask_pass: bool = False
    ask_become_pass: bool = False
    variables: Mapping[str, object] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the command line of ansible-playbook."""
        words = [program("ansible-playbook"), "--inventory", self.inventory or str(self.folder / HOSTS), "--forks", str(FORKS)]
        words += ["--limit", self.limit] if self.limit else []
        words += ["--check"] if self.check else []
        words += ["--ask-pass"] if self.ask_pass else []
        words += ["--ask-become-pass"] if self.ask_become_pass else []
        words += ["--extra-vars", json.dumps(dict(self.variables))] if self.variables else []
        return [*words, str(PACKAGED / "playbooks" / f"{self.name}.yml")]

    def environment(self) -> dict[str, str]:
        """Return the environment of ansible-playbook: that of this process, with our plugin and role."""
        roles = [self.folder / "roles", PACKAGED / "roles"]
        return {
            "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
            "ANSIBLE_SSH_ARGS": SSH_ARGS,
            **os.environ,
            **STRICT,
            "LC_ALL": "C.UTF-8",  # Ansible refuses other encodings, and its texts are compared
            "ANSIBLE_CALLBACK_PLUGINS": str(PACKAGED / "plugins" / "callback"),
            "ANSIBLE_STDOUT_CALLBACK": "fission_events",
            "ANSIBLE_ROLES_PATH": os.pathsep.join(str(path) for path in roles if path.is_dir()),
            "ANSIBLE_PIPELINING": "true",  # one connection less for each task
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_FORCE_COLOR": "false",
        }


def run_playbook(run: PlaybookRun, on_event: Callable[[PlaybookEvent, PlaybookReport], None]) -> PlaybookReport:
    """Run a playbook to its end, and return what happened on the hosts.

    Blocks. Ansible asks for passwords on the terminal.

    Args:
        run: the playbook.
        on_event: called with each event, after the report has it.

    Raises:
        UserError: no host matches, or Ansible refuses the inventory or the settings.
        EngineError: Ansible itself failed.
    """
    report, none_matched, errors = PlaybookReport(), False, _Tail()
    with subprocess.Popen(
        run.command(), env=run.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=errors.read, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            for line in process.stdout:
                event = read_event(line)
                if event is None:
                    errors.add(line)
                    continue
                none_matched = none_matched or (isinstance(event, NoHosts) and not report.hosts)
                report.handle(event)
                on_event(event, report)
        except BaseException:
            process.terminate()
            raise
        code = process.wait()
        reader.join()
    if not report.hosts and (none_matched or "no hosts to target" in errors.text or code == 0):
        raise UserError(_none(run))
    if not report.ended and code:
        raise _own_failure(errors.text, code)
    return report


def _none(run: PlaybookRun) -> str:
    if run.limit:
        return f"--limit must name a host of {run.folder / HOSTS}, but is {run.limit!r}; correct it, or add the host there"
    return f"{run.folder / HOSTS} must list the hosts, but lists none in its group fissionservers; add them there"


def _own_failure(text: str, code: int) -> UserError | EngineError:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[WARNING]")]
    if fault := yaml_fault(text):
        return UserError(f"{fault}; correct it there")
    said = next((line for line in lines if "ERROR" in line), lines[-1] if lines else f"exit code {code}")
    if code in (1, 4, 5):
        return UserError(f"Ansible refuses this: {said}; correct the file that it names, in ansible/")
    return EngineError(f"Ansible failed: {said}")


def yaml_fault(text: str) -> str:
    """Return where a file of the user is not YAML and why, from what Ansible writes; empty: it says nothing of the kind."""
    why = re.search(r"YAML parsing failed: (.+)", text)
    place = re.search(r"Origin: (\S+:\d+)", text)
    return f"{place[1] if place else 'the inventory'} must be YAML, but is not: {why[1].strip().rstrip('.')}" if why else ""


class _Tail:
    """The last characters of what a program writes."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, more: str) -> None:
        self.text = (self.text + more)[-ERROR_CHARACTERS:]

    def read(self, stream: IO[str]) -> None:
        for line in stream:
            self.add(line)
