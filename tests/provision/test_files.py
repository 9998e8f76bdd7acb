"""ansible/ in a project and in this repository, the Makefile, and the command line."""

from __future__ import annotations

import filecmp
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml

from fission.errors import UserError
from fission.provision.places import HOSTS, PACKAGED, SETTINGS, find_folder, make_folder
from tests.waiting import CommandLine

ROOT = Path(__file__).parent.parent.parent


def test_init_writes_what_is_missing(fission: CommandLine) -> None:
    done = json.loads(fission.run("provision", "init", "--json", exit_code=0).stdout)
    assert set(done["made"]) == {"ansible/README.md", f"ansible/{HOSTS}", f"ansible/{SETTINGS}"}
    hosts = fission.root / "ansible" / HOSTS
    hosts.write_text("mine")
    again = fission.run("provision", "init", exit_code=0)
    assert again.stdout.startswith("List your hosts in ansible/inventories/production/hosts.yml")
    assert hosts.read_text() == "mine"


def test_init_copies_the_role(tmp_path: Path) -> None:
    made = {str(path.relative_to(tmp_path)) for path in make_folder(tmp_path, roles=True)}
    assert "ansible/roles/setup/templates/fission.service.j2" in made  # the file that document 001 names
    assert make_folder(tmp_path, roles=True) == []


def test_the_folder_is_found_from_below(tmp_path: Path) -> None:
    below = tmp_path / "project" / "network"
    below.mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"there is no ansible/inventories/production/hosts\.yml in .*; make it with: fission provision init"
    ):
        find_folder(below)
    make_folder(tmp_path / "project")
    assert find_folder(below) == tmp_path / "project" / "ansible"


def test_the_repository_has_the_folder_that_document_001_prints() -> None:
    template = PACKAGED / "project"
    for path in template.rglob("*"):
        if path.is_file():
            assert filecmp.cmp(path, ROOT / "ansible" / path.relative_to(template), shallow=False), path
    assert (ROOT / "ansible/roles/setup/templates/fission.service.j2").samefile(PACKAGED / "roles/setup/templates/fission.service.j2")


def test_the_files_are_yaml() -> None:
    for path in PACKAGED.rglob("*.yml"):
        assert yaml.safe_load(path.read_text()), path
    assert "ansible_user" in yaml.safe_load((PACKAGED / "project" / SETTINGS).read_text())
    assert list(yaml.safe_load((PACKAGED / "project" / HOSTS).read_text())) == ["fissionservers"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("servers", "servers --ask-become-pass"),
        ("servers_pw", "servers --ask-pass --ask-become-pass"),
        ("start", "start --ask-become-pass"),
        ("stop", "stop --ask-become-pass"),
        ("restart", "restart --ask-become-pass"),
        ("renew", "renew --ask-become-pass"),
    ],
)
def test_a_target_of_the_makefile_is_a_command(target: str, words: str) -> None:
    done = subprocess.run(["make", "--dry-run", "-C", str(ROOT), target], capture_output=True, text=True, check=True, timeout=20)
    commands = [line for line in done.stdout.splitlines() if "fission provision" in line]
    assert [re.sub(r"^.*fission provision ", "", line) for line in commands] == [words], done.stdout


def test_without_hosts(fission: CommandLine) -> None:
    make_folder(fission.root)
    done = fission.run("provision", "status", exit_code=2)
    assert re.search(r"hosts\.yml must list the hosts, but lists none in its group fissionservers; add them there", done.stderr), done


def test_a_limit_that_matches_nothing(fission: CommandLine) -> None:
    make_folder(fission.root)
    (fission.root / "ansible" / HOSTS).write_text("fissionservers: {hosts: {cam1: {ansible_host: 192.0.2.9}}}\n")
    done = fission.run("provision", "status", "--limit", "cam2", exit_code=2)
    assert re.search(r"--limit must name a host of .*hosts\.yml, but is 'cam2'", done.stderr), done


def test_an_inventory_with_a_mistake(fission: CommandLine) -> None:
    make_folder(fission.root)
    (fission.root / "ansible" / HOSTS).write_text("fissionservers: [\n")
    done = fission.run("provision", "status", exit_code=2)
    assert re.search(r"hosts\.yml.*; correct", done.stderr), done  # the reason depends on Ansible's version
    assert "Traceback" not in done.stderr


#: Locales that Ansible itself refuses.
@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_two_hosts_of_one_name(fission: CommandLine, locale: str) -> None:
    """Ansible would set up the last one only."""
    make_folder(fission.root)
    hosts = "fissionservers:\n  hosts:\n    cam1:\n      ansible_host: 192.0.2.1\n    cam1:\n      ansible_host: 192.0.2.2\n"
    (fission.root / "ansible" / HOSTS).write_text(hosts)
    done = fission.run("provision", "status", exit_code=2, env={"LC_ALL": locale, "LANG": locale})
    assert re.search(r"hosts\.yml:5:5 must be YAML, but is not: .*duplicate.*'cam1'; correct it there", done.stderr), done


@pytest.mark.parametrize("words", [("status", "--ask-pass"), ("servers", "-K"), ("client", "net", "-K"), ("logs", "-k", "--json")])
def test_a_password_needs_a_terminal(fission: CommandLine, words: tuple[str, ...]) -> None:
    """Ansible would take the password for empty, and the hosts would refuse it."""
    make_folder(fission.root)
    (fission.root / "ansible" / HOSTS).write_text("fissionservers: {hosts: {cam1: {ansible_host: 192.0.2.9}}}\n")
    done = fission.run("provision", *words, exit_code=2, deadline_s=20)
    option, file = ("--ask-become-pass", "ANSIBLE_BECOME") if "-K" in words else ("--ask-pass", "ANSIBLE_CONNECTION")
    assert done.stderr == (
        f"Error: {option} must be used at a terminal, which asks for the password, but there is none; leave it out, and name a file "
        f"with the password: {file}_PASSWORD_FILE=FILE fission provision ...\n"
    )


def test_without_ansible(fission: CommandLine, tmp_path: Path) -> None:
    """A virtual environment without ansible-core, which has none on PATH either."""
    make_folder(fission.root)
    program = "import sys; sys.executable = '/nowhere/python'; from fission.cli.main import main; sys.exit(main(['provision', 'status']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=fission.root,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "ansible-playbook must be installed, but is not; install FISSION with its extra 'provision'" in done.stderr


def test_a_wrong_word_is_corrected(fission: CommandLine) -> None:
    assert "did you mean" in fission.run("provision", "server", exit_code=2).stderr.lower()


def rendered_unit(folder: Path, **settings: object) -> Path:
    """Write the unit into a folder and return it: its template, with what Ansible gives it."""
    variables = {
        "fission_service_user": "daemon",
        "fission_folder": "/home/pi/fission",
        "fission_venv": "/opt/fission/venvs/0123456789ab",
        "fission_host": {"controller": "192.168.4.1"},
        "fission_port": 8786,
        "fission_keys": "/etc/fission/keys",
        "fission_client": "",
        "fission_jobs": "",
        "fission_insecure": False,
        "fission_batctl": False,
        "fission_tmpfs_mb": 0,
        "fission_setup": "0123456789ab",
        "inventory_hostname": "board1",
    }
    templates = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)  # as Ansible does
    templates.filters["bool"] = bool
    text = (PACKAGED / "roles/setup/templates/fission.service.j2").read_text()
    unit = folder / "fission.service"
    unit.write_text(templates.from_string(text).render({**variables, **settings}))
    return unit


def settings_of(unit: Path) -> dict[str, str]:
    """Return the settings of a unit file."""
    lines = [line.partition("=") for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return {key: value for key, _, value in lines}


@pytest.mark.slow
def test_the_unit_is_accepted_and_hardened(tmp_path: Path) -> None:
    """`systemd-analyze verify` has no complaint, and `security` says that it is no longer exposed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: scripts/install-debian-packages")
    unit = rendered_unit(tmp_path)
    text = unit.read_text()
    program = settings_of(unit)["ExecStart"].split()[0]
    unit.write_text(text.replace(program, "/bin/true"))  # the program must exist
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "fission.service" not in done.stderr
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, timeout=50, check=False
    )
    exposure = float(re.search(r"Overall exposure level for fission.service: ([0-9.]+)", done.stdout)[1])  # type: ignore[index]
    assert exposure < 6, done.stdout  # 9.6 without any of the settings


def test_the_settings_of_a_host_are_in_its_unit(tmp_path: Path) -> None:
    words = shlex.split(settings_of(rendered_unit(tmp_path))["ExecStart"])
    assert words == shlex.split(
        "/opt/fission/venvs/0123456789ab/env/bin/fission node --client 192.168.4.1 --port 8786 --name board1 --root /home/pi/fission "
        "--keys /etc/fission/keys"
    )
    old = shlex.split(settings_of(rendered_unit(tmp_path, dispy_ip="10.0.0.7", fission_jobs="3", fission_client="lab.local"))["ExecStart"])
    assert old[-4:] == ["--jobs", "3", "--ip", "10.0.0.7"]
    assert old[old.index("--client") + 1] == "lab.local"
    new = rendered_unit(tmp_path, node_ip="10.0.0.8", dispy_ip="10.0.0.7", fission_insecure=True, fission_batctl=True)
    assert settings_of(new)["ExecStart"].endswith("--insecure --ip 10.0.0.8")
    assert settings_of(new)["AmbientCapabilities"] == "CAP_NET_ADMIN"
    assert settings_of(new)["RuntimeDirectory"] == "fission"
    assert new.read_text() != rendered_unit(tmp_path, fission_tmpfs_mb=64).read_text()  # so that the service restarts in the new folder


@pytest.mark.parametrize(
    ("asked", "clock", "now", "differs_s"),
    [
        (100, 100, 101, 0),
        (100, 100, 130, 0),  # another host took half a minute to log in
        (100, 128, 130, 0),  # this one did
        (100, 40, 101, 60),  # it is behind
        (100, 3701, 101, 3600),  # it is ahead
        (100, 3650, 150, 3500),  # it is ahead, and took long
    ],
)
def test_a_slow_login_is_not_a_wrong_clock(asked: int, clock: int, now: int, differs_s: int) -> None:
    tasks = yaml.safe_load((PACKAGED / "roles/setup/tasks/probe.yml").read_text())
    expression = next(task["vars"]["fission_ahead_s"] for task in tasks if task["name"] == "Compare the clock")
    found = jinja2.Template(expression).render(fission_host={"asked": str(asked), "clock": str(clock)}, fission_now=now)
    assert int(found) == differs_s
