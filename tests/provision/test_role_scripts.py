"""The scripts of the role, run here on folders of a test: what is not FISSION's stays, and two at once are safe."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from fission.adapters.keys import make_keys
from fission.cli.commands.provision_hosts import _keys_variables
from fission.provision.places import PACKAGED
from tests.waiting import eventually

ROLE = PACKAGED / "roles" / "setup"
OLD, NEW, BUSY = "0123456789ab", "ba9876543210", "cccccccccccc"
UNIT = "/etc/systemd/system/fission.service"


def script(name: str, task: str, variables: dict[str, Any]) -> str:
    """Return the shell script of a task, with what Ansible gives it."""
    found = next(one for one in _tasks(yaml.safe_load((ROLE / f"tasks/{name}.yml").read_text())) if one["name"] == task)
    engine = jinja2.Environment(undefined=jinja2.StrictUndefined)
    engine.filters.update(
        quote=shlex.quote,
        regex_replace=lambda text, old, new: re.sub(old, new, text, count=1),
        basename=lambda path: Path(path).name,
    )
    variables = {**yaml.safe_load((ROLE / "vars/main.yml").read_text()), "ansible_check_mode": False, **variables}
    for key, text in found.get("vars", {}).items():
        variables[key] = engine.from_string(text).render(variables)
    shell = found.get("ansible.builtin.shell") or found.get("ansible.builtin.raw")
    if shell is not None:
        return engine.from_string(shell if isinstance(shell, str) else shell["cmd"]).render(variables)
    return str(variables["fission_script"])


def _tasks(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [task for entry in entries for task in [entry, *_tasks(entry.get("block", []))]]


def run(text: str, *arguments: str, ok: bool = True) -> str:
    done = subprocess.run(["sh", "-c", text, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 or not ok, f"{text}\n{done.stdout}{done.stderr}"
    assert done.stderr == "", done.stderr
    return done.stdout


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of virtual environments, one of which the unit names; it has files of others too."""
    home = tmp_path / "opt"
    for name in (OLD, NEW, BUSY, "mine", "0123456789abc"):
        (home / "venvs" / name).mkdir(parents=True)
        (home / "venvs" / name / "complete").touch()
    (home / "notes.txt").touch()
    (tmp_path / "fission.service").write_text(f"ExecStart={home}/venvs/{NEW}/env/bin/fission node\n")
    return home


def cleaning(home: Path, process: int = 0) -> str:
    """Return the script that removes virtual environments, with the home's unit, whose service has this process."""
    clean = script("clean", "Remove virtual environments that are not in use", {"fission_home": str(home)})
    return clean.replace(UNIT, str(home.parent / "fission.service")).replace(
        "systemctl show fission --property=MainPID", f"echo MainPID={process}"
    )


def test_only_unused_virtual_environments_are_removed(home: Path) -> None:
    clean = cleaning(home)
    words = ["flock", str(home / "venvs" / BUSY), "sh", "-c", "echo locked; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as installing:
        assert installing.stdout is not None
        assert installing.stdout.readline() == b"locked\n"
        assert run(clean).split() == [f"{home}/venvs/{OLD}"]
        installing.communicate(b"\n", timeout=20)
    assert files(home) == ["notes.txt", *(f"venvs/{name}/complete" for name in ("0123456789abc", NEW, BUSY, "mine"))]
    assert run(clean).split() == [f"{home}/venvs/{BUSY}"]
    assert run(clean) == ""


def test_another_version_that_comes_at_the_same_time_keeps_its_virtual_environment(home: Path) -> None:
    """The other run cleans up before this one has written its unit. The marks of interrupted runs count for an hour."""
    venv = home / "venvs" / OLD
    variables = {"fission_home": str(home), "fission_venv": str(venv), "fission_wheel": "/x/a.whl"}

    def look(**more: object) -> list[str]:
        text = script("install", "Look for the virtual environment", {**variables, **more})
        return run(text, "pending.1").splitlines()

    assert look(ansible_check_mode=True) == ["others", "complete"]
    assert not list(venv.glob("pending.*"))
    assert look() == ["others", "complete"]
    assert run(cleaning(home)).split() == [f"{home}/venvs/{BUSY}"]
    assert (venv / "complete").exists()
    (home.parent / "fission.service").write_text(f"ExecStart={venv}/env/bin/fission node\n")  # the first run continues
    written = script(
        "service", "Look at what the service runs with", {"fission_venv": str(venv), "fission_pending": "pending.1", "fission_setup": ""}
    )
    assert run(written.replace("systemctl show fission --property=MainPID", f"echo MainPID={os.getpid()}"), ok=False) == ""
    assert run(cleaning(home)).split() == [f"{home}/venvs/{NEW}"]
    assert look() == ["complete"]
    (venv / "wheels.2").mkdir()
    subprocess.run(["touch", "-d", "2 hours ago", venv / "wheels.2", venv / "pending.1"], check=True)
    assert look(fission_venv=str(venv.parent / NEW)) == ["others"]
    assert not (venv.parent / NEW).exists()
    run(cleaning(home))
    assert [path.name for path in venv.iterdir()] == ["complete"]


def test_the_virtual_environment_of_a_service_that_is_not_restarted_yet_stays(home: Path) -> None:
    python = home / "venvs" / OLD / "env" / "python"
    python.parent.mkdir()
    shutil.copy("/bin/cat", python)
    with subprocess.Popen([python], stdin=subprocess.PIPE) as service:
        assert run(cleaning(home, service.pid)).split() == [f"{home}/venvs/{BUSY}"]
        service.communicate(timeout=20)
    assert run(cleaning(home, service.pid)).split() == [f"{home}/venvs/{OLD}"]


def test_keys_of_which_an_interrupted_copy_has_brought_some_are_copied_again(tmp_path: Path) -> None:
    """`check` alone looks the same as if all had arrived."""
    whole, part = (tmp_path / name / "keys" for name in ("laptop", "board"))
    make_keys(whole)
    (tmp_path / "links").mkdir()
    digest = str(_keys_variables(whole, tmp_path / "links")["fission_keys_digest"])

    def found(folder: Path) -> str:
        text = script("keys", "Compare the keys", {"fission_keys": str(folder)})
        return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False).stdout.split(" ")[0]

    assert found(part) == ""
    shutil.copytree(whole, part)
    assert found(part) == digest != ""
    (part / "node.pem").unlink()
    assert found(part) != digest
    (part / "node.pem").touch()
    assert found(part) != digest


@pytest.mark.parametrize(
    ("text", "others"), [(None, False), ("", False), ("# Written by `fission provision`\n", False), ("[Unit]\n", True), ("masked", True)]
)
def test_whose_unit_it_is(tmp_path: Path, text: str | None, others: bool) -> None:
    """A power cut in the middle of an installation may leave an empty one, which is not someone else's."""
    unit = tmp_path / "fission.service"
    if text == "masked":
        unit.symlink_to("/dev/null")
    elif text is not None:
        unit.write_text(text)
    variables = {"fission_files": [str(unit)], "fission_python": "true", "fission_home": str(tmp_path), "now": lambda fmt: fmt}
    probed = run(script("probe", "Log in", variables)).splitlines()
    assert (f"foreign={unit}" in probed) == others
    own = script("own_service", "Look whose service it is", variables)
    assert (subprocess.run(["sh", "-c", own], check=False).returncode != 0) == others


def test_purging_leaves_what_is_not_of_fission(tmp_path: Path) -> None:
    """REMOTE_ROOT is a project, whose network has the same name as a folder of FISSION; keys lie in it too."""
    ours = ["counters/1/table.csv", "counters/2/deep/file", "counters/fission.log", "counters/fission.log.1.gz", ".archives/ab/x.py"]
    gone = ["sound/12/a", "sound/fission.log"]
    others = [
        "counters/config.py",
        "counters/2nd/notes",
        "counters/nodes/1/mine",
        "photos/1/a.jpg",
        "keys/curve.secret",
        "3/mine",
        "fission.log",
    ]
    for name in [*ours, *gone, *others]:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    (tmp_path / "elsewhere" / "7").mkdir(parents=True)
    (tmp_path / "elsewhere" / "fission.log").touch()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path)
    task, variables = "Remove code, and the folders and logs of jobs", {"fission_folder": str(tmp_path / "root")}
    names = run(script("purge", task, {**variables, "ansible_check_mode": True}))
    assert files(tmp_path) == before
    assert run(script("purge", task, variables)) == names != ""
    assert files(tmp_path / "root") == sorted(others)
    assert not (tmp_path / "root" / "sound").exists()
    assert (tmp_path / "elsewhere" / "7").is_dir()
    assert run(script("purge", task, variables)) == ""


def test_removal_leaves_what_is_not_of_fission(home: Path, tmp_path: Path) -> None:
    keys = tmp_path / "etc" / "keys"
    keys.mkdir(parents=True)
    for name in ("curve.secret", "check", "mine.pem"):
        (keys / name).touch()
    variables = {"fission_home": str(home), "fission_keys": str(keys)}
    before = files(tmp_path)
    names = run(script("remove", "Remove the virtual environments and the keys", {**variables, "ansible_check_mode": True}))
    assert files(tmp_path) == before
    remove = script("remove", "Remove the virtual environments and the keys", variables)
    assert run(remove) == names != ""
    assert files(tmp_path) == [
        "etc/keys/mine.pem",
        "fission.service",
        "opt/notes.txt",
        "opt/venvs/0123456789abc/complete",
        "opt/venvs/mine/complete",
    ]
    assert run(remove) == ""


def test_removal_leaves_no_empty_folder(home: Path, tmp_path: Path) -> None:
    (home / "notes.txt").unlink()
    for name in ("mine", "0123456789abc"):
        shutil.rmtree(home / "venvs" / name)
    keys = tmp_path / "etc" / "keys"
    keys.mkdir(parents=True)
    (keys / "curve.secret").touch()
    run(script("remove", "Remove the virtual environments and the keys", {"fission_home": str(home), "fission_keys": str(keys)}))
    assert not home.exists()
    assert not keys.exists()


def test_what_an_interrupted_copy_has_left_is_removed(tmp_path: Path) -> None:
    temporary = tmp_path / ".ansible" / "tmp"
    for name in ("ansible-tmp-old", "ansible-tmp-now", "mine"):
        (temporary / name).mkdir(parents=True)
        (temporary / name / "curve.secret").touch()
    subprocess.run(["touch", "-d", "1 hour ago", temporary / "ansible-tmp-old", temporary / "mine"], check=True)
    remove = script("remove", "Remove what interrupted copies have left", {"fission_login_home": str(tmp_path)})
    assert run(remove).split() == [f"{temporary}/ansible-tmp-old"]
    assert files(temporary) == ["ansible-tmp-now/curve.secret", "mine/curve.secret"]
    assert run(remove) == ""


PYTHON = """#!/bin/sh
# Stands for Python: makes a virtual environment, whose pip takes until a line comes from the pipe `go`.
case "$*" in
*venv*) rm -rf env; mkdir -p env/bin; cp "$0" env/bin/python ;;
*) echo pip >> ../calls; ls wheels >> ../calls; read line < ../go; test "$line" = ok && touch env/installed ;;
esac
"""


def test_two_installations_at_once_are_one(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    subprocess.run(["mkfifo", tmp_path / "go"], check=True)
    variables = {
        "fission_venv": str(venv),
        "fission_python": str(tmp_path / "python"),
        "fission_wheelhouse": "",
        "fission_wheel": "/x/a.whl",
    }

    def start(upload: str) -> subprocess.Popen[bytes]:
        (venv / upload).mkdir(parents=True)
        (venv / upload / "a.whl").touch()
        text = script("install", "Install the packages", {**variables, "fission_upload": upload})
        return subprocess.Popen(["flock", str(venv), "sh", "-ec", text, upload.replace("wheels", "pending")])

    def calls() -> list[str]:
        return (tmp_path / "calls").read_text().split() if (tmp_path / "calls").exists() else []

    with start("wheels.1") as first:
        eventually(lambda: calls() == ["pip", "a.whl"], 20, "the first one installs")
        (tmp_path / "go").write_text("fails\n")
        assert first.wait(20) != 0
    assert not (venv / "complete").exists()  # an installation that fails changes nothing
    with start("wheels.2") as first:
        eventually(lambda: len(calls()) == 4, 20, "the second one installs")
        with start("wheels.3") as other:
            (tmp_path / "go").write_text("ok\n")
            assert (first.wait(20), other.wait(20)) == (0, 0)
    assert calls() == ["pip", "a.whl"] * 2
    assert (venv / "complete").read_text() == "a.whl\n"
    assert files(venv) == ["complete", "env/bin/python", "env/installed", "pending.2", "pending.3"]
    assert [path.name for path in venv.iterdir() if path.is_dir()] == ["env"]


def test_the_home_folder_of_the_user_is_searched_for_files_of_others(tmp_path: Path) -> None:
    """Its name comes first if `servers` made the user; what /etc/skel has, and caches, do not count."""
    home, skel = tmp_path / "home", tmp_path / "skel"
    for folder in (home, skel, home / ".cache"):
        folder.mkdir()
    (home / ".bashrc").write_text("same")
    (skel / ".bashrc").write_text("same")
    look = script("purge", "Look for the user of the service", {"fission_service_user": "fission"})
    look = look.replace("/var/lib/fission", str(home)).replace("/etc/skel", str(skel))

    def found(home_of_user: Path) -> list[str]:
        return run(look.replace("getent passwd fission", f"echo fission:x:9:9::{home_of_user}:/usr/sbin/nologin")).splitlines()

    assert found(home) == ["made"]
    assert found(tmp_path) == []
    (home / ".bashrc").write_text("changed")
    (home / ".netrc").touch()
    (home / "fission").mkdir()
    assert found(home) == ["made", *(f"{home}/{name}" for name in (".bashrc", ".netrc", "fission"))]
