"""The unit of the service that runs a network, and the command that sets it up."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from fission.cli.commands.provision_client import service_settings
from fission.cli.host_lines import status_of
from fission.errors import UserError
from fission.provision.events import HostReport, TaskFailed
from fission.provision.faults import Attempt, explain
from fission.provision.places import PACKAGED
from tests.provision.test_files import settings_of
from tests.waiting import CommandLine

LIGHTS = {"lights/config.py": "from fission.core.jobs import ClockJob\nfrom fission.core.pipes import PicklePipe\nJOBS = []\n"}


def rendered_unit(folder: Path, **settings: object) -> Path:
    """Write the unit into a folder and return it: its template, with what Ansible gives it."""
    variables = {
        "fission_network": "lights",
        "fission_project": "/home/pi/hall",
        "fission_run_user": "daemon",
        "fission_python": "/home/pi/venv/bin/python",
        "fission_programs": "/home/pi/venv/bin",
        "fission_keys": "/home/pi/.fission/keys",
    }
    templates = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # as Ansible does
    text = (PACKAGED / "roles/client/templates/fission-client.service.j2").read_text()
    unit = folder / "fission-lights.service"
    unit.write_text(templates.from_string(text).render({**variables, **settings}))
    return unit


def test_what_the_unit_starts_and_when_it_restarts(tmp_path: Path) -> None:
    unit = settings_of(rendered_unit(tmp_path))
    assert shlex.split(unit["ExecStart"]) == ["/home/pi/venv/bin/python", "-m", "fission", "lights", "run", "--resume-or-start"]
    assert unit["Type"] == "notify"
    assert unit["TimeoutStartSec"] == "infinity"  # the nodes may come up much later
    assert int(unit["WatchdogSec"]) > 0
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"].split() == ["2"]
    assert unit["SuccessExitStatus"].split() == ["130", "143"]  # fission ends with these after SIGINT and SIGTERM
    assert unit["StartLimitIntervalSec"] == "0"
    assert unit["KillMode"] == "mixed"  # the client stops its jobs in order
    text = rendered_unit(tmp_path).read_text()
    assert 'Environment="FISSION_KEYS=/home/pi/.fission/keys"' in text
    assert 'Environment="PATH=/home/pi/venv/bin:/usr/local/sbin:' in text
    assert "FISSION_KEYS" not in rendered_unit(tmp_path, fission_keys="").read_text()
    assert "WorkingDirectory=/home/pi/50%% off" in rendered_unit(tmp_path, fission_project="/home/pi/50% off").read_text()


def test_a_path_that_no_unit_can_have() -> None:
    loaded = SimpleNamespace(config=SimpleNamespace(nodes=[], cluster=None, security=False), root=Path("/home/pi/ha$ll"))
    with pytest.raises(UserError, match=r"the path of the project must have no quotes, \$, .* but is '/home/pi/ha\$ll'; move it"):
        service_settings(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("project", ["/home/pi/hall", "/home/pi/my hall, 50% off"])
def test_the_unit_is_accepted_and_hardened(tmp_path: Path, project: str) -> None:
    """`systemd-analyze verify` has no complaint, and `security` says that it is no longer exposed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: scripts/install-debian-packages")
    unit = rendered_unit(tmp_path, fission_python="/bin/true", fission_project=project)  # the program must exist
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "fission-lights.service" not in done.stderr
    words = ["systemd-analyze", "security", "--offline=true", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
    exposure = float(re.search(r"Overall exposure level for fission-lights.service: ([0-9.]+)", done.stdout)[1])  # type: ignore[index]
    assert exposure < 6, done.stdout  # 9.6 without any of the settings


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Missing sudo password", "sudo_password", "sudo asks for a password; type it: --ask-become-pass"),
        ("Could not find the requested service fission-lights: host", "not_set_up", "run: fission provision client lights"),
        ("Unable to start service fission-lights: Job failed", "service_fails", "its log says why: fission provision client lights logs"),
        ("No space left on device", "disk_full", "on this machine, look with df -h .*then: fission provision client lights start$"),
        ("a new text", "unknown", "to see all of it: fission provision client lights start --verbose$"),
    ],
)
def test_advice_is_about_this_machine(text: str, kind: str, expected: str) -> None:
    found = explain(TaskFailed("lights", "Start the service", text), Attempt("fission provision client lights start", network="lights"))
    assert found.kind == kind
    assert re.search(expected, str(found)), found


@pytest.mark.parametrize(("state", "shown"), [("active", True), ("activating", True), ("inactive", False), ("failed", False)])
def test_the_status_of_a_service_that_has_ended_is_not_shown(state: str, shown: bool) -> None:
    lines = ["LoadState=loaded", f"ActiveState={state}", "StatusText=2 of 2 jobs run on 1 of 1 nodes"]
    assert ("status" in status_of(HostReport(result={"service": lines}))) is shown


def test_mistakes_are_found_before_anything_happens(fission: CommandLine) -> None:
    fission.project(LIGHTS)
    done = fission.run("provision", "client", "light", exit_code=2)
    assert "there is no network 'light'" in done.stderr
    assert "did you mean 'lights'?" in done.stderr
    assert "JOBS is empty" in fission.run("provision", "client", "lights", exit_code=2).stderr
    assert "'strat' is not one of" in fission.run("provision", "client", "lights", "strat", exit_code=2).stderr
    assert "there is no network '../x'" in fission.run("provision", "client", "../x", "remove", exit_code=2).stderr


SUDO = '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done; exec "$@"\n'


def put_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def path_with(programs: Path) -> str:
    return f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin"


@pytest.mark.slow
def test_where_there_is_no_systemd_one_line_says_so(fission: CommandLine, tmp_path: Path) -> None:
    """Ansible itself runs; `systemctl` is one that cannot reach systemd, as in a container."""
    fission.project(LIGHTS)
    programs = tmp_path / "bin"
    put_program(programs, "systemctl", "#!/bin/sh\necho 'System has not been booted with systemd as init system' >&2; exit 1\n")
    put_program(programs, "sudo", SUDO)
    env = {"PATH": path_with(programs)}
    done = fission.run("provision", "client", "lights", "status", "--json", exit_code=1, env=env)
    host = json.loads(done.stdout)["hosts"]["lights"]
    assert (host["ok"], host["kind"]) == (False, "no_systemd"), host
