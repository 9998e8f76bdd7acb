"""The settings of a host: each mistake is found before anything is changed there, and is one clause."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fission.cli.commands import provision_hosts
from fission.provision.places import PACKAGED

ROLE = PACKAGED / "roles" / "setup"
GOOD = {
    "inventory_hostname": "board1",
    "node_ip": "",
    "dispy_ip": "",
    "pip3_packages": [],
    "fission_controller": "192.168.4.1",
    "fission_folder": "/home/pi/fission",
    **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
}


@pytest.fixture(scope="module")
def setting_faults() -> Callable[..., list[str]]:
    """The filter, as Ansible loads it."""
    spec = importlib.util.spec_from_file_location("fission_settings", ROLE / "filter_plugins" / "fission_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., list[str]] = module.FilterModule().filters()["fission_setting_faults"]
    return found


def test_the_defaults_are_right(setting_faults: Callable[..., list[str]]) -> None:
    assert setting_faults(GOOD, ["fission_home", "fission_host", "fission_probe", "fission_my_own"]) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"fission_root": "/home/jürgen/fission/"},
        {"fission_client": "lab.local"},
        {"fission_controller": "fe80::1%eth0", "node_ip": "fd79::4"},
        {"fission_jobs": 3, "fission_port": "8790", "fission_tmpfs_mb": "64", "fission_batctl": "yes"},
        {"fission_user": "www-data", "fission_python": "/usr/bin/python3.12"},
        {"pip3_packages": None, "fission_user": None, "fission_root": None},
        {"pip3_packages": [{"name": "numpy"}, {"name": "scipy", "version": "1.14.1"}, {"name": "x", "version": 3}, "rich>=13"]},
        {"inventory_hostname": "fd79::4"},
    ],
    ids=str,
)
def test_what_is_right(setting_faults: Callable[..., list[str]], changed: dict[str, object]) -> None:
    assert setting_faults({**GOOD, **changed}) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"inventory_hostname": "my board"}, "inventory_hostname must be of letters.* but is 'my board'"),
        ({"inventory_hostname": "board%n"}, "inventory_hostname"),
        ({"fission_root": "/home/pi/my files"}, "fission_root must be an absolute path below.* but is '/home/pi/my files'"),
        ({"fission_root": "~/fission"}, "fission_root"),
        ({"fission_root": "/tmp"}, "fission_root must be .*below a top-level folder"),
        ({"fission_root": "/srv/../etc"}, "fission_root"),
        ({"fission_root": "/srv/100%"}, "fission_root"),
        ({"fission_folder": "/fission"}, "fission_folder must be .*: set fission_root, but is '/fission'"),
        ({"fission_home": "/"}, "fission_home"),
        ({"fission_keys": "keys"}, "fission_keys"),
        ({"fission_client": "192.168.4.1 --insecure"}, "fission_client must be a host name or an address, but is"),
        ({"fission_controller": ""}, "fission_controller must be .*: set fission_client, but is ''"),
        ({"node_ip": "10.0.0.1;reboot"}, "node_ip"),
        ({"fission_port": 70000}, "fission_port must be a number from 1 to 65535, but is 70000"),
        ({"fission_jobs": "many"}, "fission_jobs must be a number from 1 on, or empty, but is 'many'"),
        ({"fission_jobs": 0}, "fission_jobs"),
        ({"fission_tmpfs_mb": "512m"}, "fission_tmpfs_mb must be a number of MB, but is '512m'"),  # Ansible takes it for 0
        ({"fission_user": "a b"}, "fission_user must be the name of a user, but is 'a b'"),
        ({"fission_python": "/opt/my python"}, "fission_python"),
        ({"fission_batctl": "maybe"}, "fission_batctl must be true or false, but is 'maybe'"),
        ({"pip3_packages": "numpy"}, "pip3_packages must be a list, .* but is 'numpy'"),  # Ansible takes it for n, u, m, p and y
        ({"pip3_packages": [{"nam": "numpy"}]}, "an entry of pip3_packages must be '- name: PACKAGE', but is"),
        ({"pip3_packages": ["--index-url=http://x"]}, "an entry of pip3_packages must be the name of a package, but is '--index-url"),
        ({"pip3_packages": [{"name": "x", "version": 1.20}]}, "the version of x in pip3_packages must be in quotes.* but is 1.2"),
        (
            {"pip3_packages": [{"name": "x", "verson": "1"}]},
            "the package x of pip3_packages must have name and version only, but has verson",
        ),
    ],
    ids=str,
)
def test_a_mistake(setting_faults: Callable[..., list[str]], changed: dict[str, object], words: str) -> None:
    found = setting_faults({**GOOD, **changed})
    assert len(found) == 1, found
    assert re.match(words, found[0]), found
    assert "\n" not in found[0]


def test_a_misspelt_setting(setting_faults: Callable[..., list[str]]) -> None:
    assert setting_faults(GOOD, ["fission_clinet"]) == ["there is no setting fission_clinet; it may be fission_client"]


def test_no_variable_of_the_role_itself_is_taken_for_a_misspelling(setting_faults: Callable[..., list[str]]) -> None:
    text = "".join(path.read_text() for path in PACKAGED.rglob("*") if path.suffix in (".yml", ".j2"))
    command = (Path(provision_hosts.__file__)).read_text()
    names = set(re.findall(r"\bfission_[a-z_]+", text + command))
    assert {"fission_host", "fission_keys_from", "fission_purge"} <= names
    assert setting_faults(GOOD, names) == []


def test_two_hosts_are_one_machine(setting_faults: Callable[..., list[str]]) -> None:
    hosts = {"board1": ("10.0.0.2", 22), "board2": ("10.0.0.2", "22"), "board3": ("10.0.0.2", 2222), "board4": ("", 22)}
    assert setting_faults(GOOD, (), hosts) == ["ansible_host must be another one for each host, but board1 and board2 have 10.0.0.2"]
    assert setting_faults({**GOOD, "inventory_hostname": "board3"}, (), hosts) == []
    assert setting_faults({**GOOD, "inventory_hostname": "board4"}, (), hosts) == []


def test_every_setting_is_checked() -> None:
    """The task hands each setting of the role to the filter, so that its name counts as known."""
    tasks = yaml.safe_load((ROLE / "tasks/probe.yml").read_text())
    handed = next(task["vars"]["fission_settings"] for task in tasks if task["name"] == "Check the settings")
    assert set(handed) == set(GOOD)
    names = [task["name"] for task in tasks]
    assert names.index("Check the settings") < names.index("Choose the user, the folder and the virtual environment")


def test_documented_settings_exist() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "boards.md").read_text()
    assert set(re.findall(r"`(fission_[a-z_]+)`", text)) <= set(GOOD)
