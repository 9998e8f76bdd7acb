"""A network as a service: it survives power cuts of its client and of its nodes, with each block counted once.

Four hosts, set up by commands of docs/boards.md: one runs the network, three are its nodes. A power cut ends all processes of a host
at once, its service manager included; then it boots. Meanwhile, a new version of FISSION comes to the nodes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fission.provision.wheel import obtain_wheel
from tests.provision.boards import Boards, lines_of, make_wheelhouse
from tests.provision.client_host import PROJECT, UNIT, ClientHost
from tests.provision.networks import squares
from tests.versions import HERE, NEXT, wheel_of
from tests.waiting import eventually

# One fixture for all: the tests are in the order of a network's use.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client(make_boards: Callable[..., Boards]) -> ClientHost:
    """The host of the client, with FISSION and the project, but no service yet; its nodes are set up."""
    boards = make_boards(4)
    wheels = make_wheelhouse(boards.folder / "wheels", "cluster", "provision")
    wheel = obtain_wheel(None, wheels).path
    wheel = Path(shutil.move(wheel, wheels / wheel.name))
    own, *nodes = boards
    made = ClientHost(boards, own, nodes)
    boards.write_hosts({node.name: {"fission_client": own.ip} for node in nodes}, nodes=nodes)
    done = boards.provision("servers", "--wheelhouse", str(wheels), "--wheel", str(wheel))
    assert all(lines[0].startswith("ready, ") for lines in lines_of(done).values()), done
    made.install(wheel, wheels)
    made.write_network(0)
    return made


def test_setting_the_service_up(client: ClientHost) -> None:
    assert client.provision("--check") == ["would change: Write the unit of the service"]
    assert client.provision() == ["ready, 2 changes"]
    client.more_rows()
    assert client.provision() == ["ready, no change"]
    (line,) = client.provision("status")
    assert re.fullmatch(r"running since .*, 3 of 3 jobs run on 4 of 4 nodes", line), line
    assert any("SquareJob 2" in line for line in client.provision("logs", "--lines", "200"))


def test_stopping_and_starting(client: ClientHost) -> None:
    assert client.provision("stop") == ["stopped, 1 change"]
    assert client.provision("status") == ["stopped"]
    client.check_rows()
    assert client.provision("start") == ["started, 1 change"]
    client.more_rows()
    assert client.provision("restart") == ["restarted, 1 change"]
    client.until_service(ActiveState="active", NRestarts="0")
    client.more_rows()


def test_a_node_loses_its_power(client: ClientHost) -> None:
    node = client.board_of(1)
    node.power_off()
    eventually(lambda: client.board_of(1) != node, 60, lambda: f"the job starts elsewhere\n{client.logs()}")
    client.more_rows()
    joined = len(client.events("NodeJoined"))
    node.power_on()
    eventually(lambda: len(client.events("NodeJoined")) > joined, 60, lambda: f"the node is back\n{client.logs()}")
    client.more_rows()


def test_the_client_loses_its_power(client: ClientHost) -> None:
    client.board.power_off()
    client.board.power_on()
    client.more_rows()
    client.until_service(ActiveState="active")


def test_both_lose_their_power(client: ClientHost) -> None:
    """The client and the node with its source; then all hosts at once."""
    for hosts in ([client.board_of(1), client.board], [*client.nodes, client.board]):
        for host in hosts:
            host.power_off()
        for host in hosts:
            host.power_on()
        client.more_rows()


def test_all_reboot_in_order(client: ClientHost) -> None:
    """Unlike a power cut, a reboot stops the services; a network that was stopped continues after the boot."""
    for host, unit in ((client.board_of(1), "fission"), (client.board, UNIT)):
        host.sh(f"systemctl stop {unit}")
        host.power_off()
        host.power_on()
        client.more_rows()


def test_a_client_that_hangs_is_replaced(client: ClientHost) -> None:
    """Its processes get no time; systemd's watchdog ends it. The limit is shorter here than that of the unit."""
    client.change_unit("WatchdogSec=60", "WatchdogSec=6")
    client.board.sh(f"systemctl restart {UNIT}")
    client.until_service(ActiveState="active")
    hangs = client.service()["MainPID"]
    client.board.sh(f"kill -STOP {hangs}")
    client.until_service(ActiveState="active", NRestarts="1")
    assert client.service()["MainPID"] != hangs
    client.more_rows()
    assert client.provision() == ["ready, 2 changes"]  # the unit is as it should be again
    assert "WatchdogSec=60" in client.board.sh(f"cat /etc/systemd/system/{UNIT}.service")
    client.more_rows()


def test_a_mistake_of_the_user_is_not_tried_again(client: ClientHost) -> None:
    config = f"{PROJECT}/counters/config.py"
    client.board.sh(f"cp {config} /tmp/; sed -i 's/PicklePipe(2)/PicklePipe(3)/g' {config}; systemctl --no-block restart {UNIT}")
    client.until_service(ActiveState="failed")
    assert "must have the jobs and pipes of config.py to be resumed" in client.board.sh(f"tail -n 1 /var/log/units/{UNIT}.log")
    client.board.sh(f"cp /tmp/config.py {config}; systemctl restart {UNIT}")
    client.more_rows()


def test_it_finishes_once(client: ClientHost) -> None:
    """A network that has finished stays so, with exactly its rows; after the next boot a new run begins."""
    client.board.sh(f"systemctl stop {UNIT}")
    limit = len(client.rows()) + 1500
    client.write_network(limit)
    client.board.sh(f"systemctl start {UNIT}")
    client.until_service(ActiveState="inactive")
    assert client.rows() == squares(limit), client.logs()
    client.board.power_off()
    client.board.power_on()
    eventually(lambda: len(client.rows()) > limit, 60, lambda: f"a row of a new run\n{client.logs()}")
    client.board.sh(f"systemctl stop {UNIT}; rm -r {PROJECT}/counters/runs {PROJECT}/counters/local")
    client.write_network(0)


def away(client: ClientHost, since: int) -> int:
    """Return the greatest number of nodes whose services were stopped at the same time, from an entry of the event log on."""
    names: set[str] = set()
    most = 0
    for entry in client.events()[since:]:
        if entry["what"] == "NodeLost" and entry["on_purpose"]:
            names.add(entry["node"])
        elif entry["what"] == "NodeJoined":
            names.discard(entry["name"])
        most = max(most, len(names))
    return most


def test_a_new_version_comes_to_the_nodes_of_a_running_network(client: ClientHost, tmp_path: Path) -> None:
    """One after another; the jobs of each one move away, and others come back to it."""
    client.board.sh(f"systemctl start {UNIT}")
    client.more_rows()
    process, since = client.service()["MainPID"], len(client.events())
    wheelhouse = str(client.boards.folder / "wheels")
    done = client.boards.provision("renew", "--wheel", str(wheel_of(tmp_path, NEXT)), "--wheelhouse", wheelhouse)
    assert {name: lines[0].split(",")[0] for name, lines in lines_of(done).items()} == {node.name: "renewed" for node in client.nodes}, done
    client.more_rows()
    found = json.loads(client.boards.provision("status", "--json").stdout)["hosts"]
    assert {name: host["installed"] for name, host in found.items()} == {node.name: [NEXT] for node in client.nodes}
    assert client.service()["MainPID"] == process
    assert HERE in client.run("fission --version")
    assert away(client, since) == 1, client.logs()
    for job in (1, 2):
        entries = client.events()[since:]
        launched = [(index, entry["node"]) for index, entry in enumerate(entries) if entry["what"] == "Launch" and entry["job"] == job]
        back = [index for index, entry in enumerate(entries) if entry["what"] == "NodeJoined" and entry["name"] == launched[-1][1]]
        assert launched[-1][0] > back[0], client.logs()


def test_nodes_that_restart_together_would_be_noticed(client: ClientHost) -> None:
    since = len(client.events())
    for node in client.nodes[:2]:
        node.sh("systemctl --no-block restart fission")
    client.more_rows()
    assert away(client, since) == 2


def cut_power(client: ClientHost) -> None:
    client.more_rows()
    client.board.power_off()
    client.board.power_on()


def test_a_service_that_is_not_enabled_would_be_noticed(client: ClientHost) -> None:
    client.board.sh(f"systemctl start {UNIT}; systemctl disable {UNIT}")
    cut_power(client)
    with pytest.raises(AssertionError, match="not within"):
        client.more_rows(deadline_s=5)
    client.board.sh(f"systemctl enable {UNIT}; systemctl start {UNIT}")
    client.more_rows()


def test_a_service_that_begins_anew_would_be_noticed(client: ClientHost) -> None:
    client.change_unit(" --resume-or-start", "")
    cut_power(client)
    with pytest.raises(AssertionError, match="row "):
        client.more_rows()


def test_the_service_of_another_project_stays(client: ClientHost) -> None:
    """A network of the same name in another project, and a unit that FISSION has not written."""
    # without the folders of the runs: files come and go there, because the service is at work
    client.run(f"mkdir /home/pi/other && tar -C {PROJECT} --exclude=runs -c . | tar -C /home/pi/other -x")
    for action in ("", " remove"):
        text = client.run(f"cd /home/pi/other && fission provision client counters{action}", ok=False)
        assert "failed: the service runs the network of this name in /home/pi/garden; call this command there, or rename" in text, text
    unit = f"/etc/systemd/system/{UNIT}.service"
    client.board.sh(f"cp {unit} /root/unit; echo '[Service]' > {unit}")
    assert f"FISSION needs the place of {unit}, which it has not written" in client.run("fission provision client counters", ok=False)
    assert client.provision("remove") == ["nothing to remove, no change"]
    assert client.board.sh(f"cat {unit}; cp /root/unit {unit}") == "[Service]\n"
    client.run("rm -r /home/pi/other")


def test_removing_it(client: ClientHost) -> None:
    assert client.provision("remove") == ["removed, 2 changes"]
    assert client.provision("status") == ["not set up"]
    assert client.rows()
    client.board.power_off()
    client.board.power_on()
    assert "fission" not in client.board.sh("ps -o args= -u pi", ok=False)
