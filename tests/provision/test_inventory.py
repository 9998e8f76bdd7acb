"""``fission provision inventory``: hosts from NODES, and NODES without a host."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from fission.errors import UserError
from fission.provision.inventory import ListedNode, inventory_text, without_host
from fission.provision.places import HOSTS
from fission.provision.playbook import yaml_fault
from tests.waiting import CommandLine

CONFIG = """
from fission.core.jobs import CSVSinkJob, PythonJob
from fission.core.nodes import BaseNode, LocalNode, MultiNode
from fission.core.pipes import PicklePipe

class Source(PythonJob):
    def run(self):
        return 1

JOBS = [Source(outputs=[PicklePipe(1)]), CSVSinkJob(path="rows.csv", inputs=[PicklePipe(1)])]
NODES = [BaseNode("192.168.4.2", "kitchen"), BaseNode("hall.local"), BaseNode("fd79::4"), MultiNode("10.0.0.*"), LocalNode("127.0.0.1")]
CLIENT_IP = "192.168.4.1"
USER = "asn"
REMOTE_ROOT = "/home/asn/fission"
"""
FILE = f"ansible/{HOSTS}"


def test_hosts_are_written_once(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG})
    done = fission.run("provision", "inventory", "net", exit_code=0)
    assert done.stdout.splitlines() == [
        f"wrote 3 hosts to {FILE}; set them up with: fission provision servers",
        f"10.0.0.* is a pattern: list the hosts that match it in {FILE} yourself",
    ]
    group = yaml.safe_load((fission.root / FILE).read_text())["fissionservers"]
    assert group["hosts"] == {
        "kitchen": {"ansible_host": "192.168.4.2", "ansible_user": "asn"},
        "node_hall_local": {"ansible_host": "hall.local", "ansible_user": "asn"},
        "node_fd79__4": {"ansible_host": "fd79::4", "ansible_user": "asn"},
    }
    assert group["vars"] == {"fission_client": "192.168.4.1", "fission_port": 8786, "fission_root": "/home/asn/fission"}
    again = fission.run("provision", "inventory", "net", exit_code=0)
    assert again.stdout.splitlines()[0] == f"every one of the NODES has a host in {FILE}"


def test_nodes_without_a_host_are_named(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG})
    (fission.root / FILE).parent.mkdir(parents=True)
    text = "fissionservers: {hosts: {hall: {ansible_host: hall.local}, other: {ansible_host: 10.1.1.1, dispy_ip: 'FD79::0004'}}}\n"
    (fission.root / FILE).write_text(text)
    done = fission.run("provision", "inventory", "net", exit_code=1)
    assert done.stdout.splitlines()[0] == (f"kitchen (192.168.4.2): no host in {FILE}; add it there, or write the file anew: --replace")
    assert (fission.root / FILE).read_text() == text
    found = json.loads(fission.run("provision", "inventory", "net", "--json", exit_code=1).stdout)
    assert found["without_host"] == ["kitchen"]
    assert found["patterns"] == ["10.0.0.*"]
    assert not found["written"]
    fission.run("provision", "inventory", "net", "--replace", exit_code=0)
    assert "kitchen" in (fission.root / FILE).read_text()


def test_a_mistake_in_the_inventory(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG})
    (fission.root / FILE).parent.mkdir(parents=True)
    (fission.root / FILE).write_text("fissionservers: [\n")
    done = fission.run("provision", "inventory", "net", exit_code=2)
    assert re.search(r"hosts\.yml.*; correct it there", done.stderr), done  # the reason depends on Ansible's version
    assert (fission.root / FILE).read_text() == "fissionservers: [\n"


def test_the_place_of_a_fault() -> None:
    text = "[WARNING]: Failed to parse inventory: YAML parsing failed: Did not find expected node content.\nOrigin: /p/hosts.yml:2:1\n"
    assert yaml_fault(text) == "/p/hosts.yml:2:1 must be YAML, but is not: Did not find expected node content"
    assert yaml_fault("[WARNING]: Could not match supplied host pattern") == ""


def test_an_unknown_network(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG})
    assert "no network 'nett'" in fission.run("provision", "inventory", "nett", exit_code=2).stderr


@pytest.mark.parametrize(
    ("host", "same"),
    [
        (ListedNode("kitchen", "10.0.0.1"), True),
        (ListedNode("other", "192.168.4.2"), True),
        (ListedNode("other", "10.0.0.1", "192.168.4.2"), True),
        (ListedNode("other", "10.0.0.1"), False),
    ],
)
def test_which_host_is_a_node(host: ListedNode, same: bool) -> None:
    node = ListedNode("kitchen", "192.168.4.2")
    assert without_host([node], [host]) == ([] if same else [node])


def test_a_name_that_no_host_can_have() -> None:
    with pytest.raises(UserError, match=r"must have only letters.* but is 'the kitchen'; rename it in NODES"):
        inventory_text([ListedNode("the kitchen", "10.0.0.1")], {})
