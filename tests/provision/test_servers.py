"""Boards are set up by the commands of docs/boards.md, and a network runs on them, also while they are renewed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import fission
from tests.provision.boards import Boards, lines_of
from tests.provision.networks import rows, squares, write_network
from tests.waiting import Finished, eventually, start_fission

# One fixture for all: the tests are in the order of a board's use. They take minutes where the machine is busy.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]


def command(boards: Boards, line: str, exit_code: int = 0) -> Finished:
    """Run a command as docs/boards.md prints it."""
    words = shlex.split(line)
    assert words[:2] == ["fission", "provision"]
    return boards.provision(*words[2:], exit_code=exit_code)


@pytest.fixture(scope="module")
def boards(make_boards: Callable[..., Boards], wheelhouse: Path) -> Boards:
    """Two boards; the first run of `servers` has set them up from the package index that they have."""
    made = make_boards(2)
    shutil.copytree(wheelhouse, made.project / "wheelhouse")
    for board in made:
        board.put(wheelhouse, "/var/index")
        board.sh("printf '[global]\\nno-index = true\\nfind-links = /var/index\\n' > /etc/pip.conf")
    done = command(made, "fission provision servers")
    assert lines_of(done) == {"board1": ["ready, 9 changes"], "board2": ["ready, 9 changes"]}, done
    return made


def test_a_second_run_changes_nothing(boards: Boards) -> None:
    before = [board.commands() for board in boards]
    done = command(boards, "fission provision servers --wheelhouse wheelhouse")
    assert lines_of(done) == {"board1": ["ready, no change"], "board2": ["ready, no change"]}
    for board, commands in zip(boards, before, strict=True):
        changing = [line for line in board.commands()[len(commands) :] if line.split()[0] not in ("show", "is-enabled", "is-active")]
        assert changing == [], board.name


def test_a_service_that_an_interrupted_run_has_not_restarted(boards: Boards) -> None:
    """The unit is there, and the service still runs with what was there before: the next run restarts it."""
    unit = "/etc/systemd/system/fission.service"
    boards[1].sh(f"cp {unit} /root/unit; sed -i 's/^Environment=FISSION_SETUP=.*/Environment=FISSION_SETUP=old/' {unit}")
    boards[1].sh(f"systemctl daemon-reload; systemctl restart fission; cp /root/unit {unit}; systemctl daemon-reload")
    done = command(boards, "fission provision servers --wheelhouse wheelhouse --verbose")
    assert lines_of(done) == {"board1": ["ready, no change"], "board2": ["ready, 1 change", "changed: Restart the service"]}


def test_what_is_on_a_board(boards: Boards) -> None:
    board = boards[0]
    keys = ("ca.pem", "check", "curve.public", "curve.secret", "node.key", "node.pem", "pulse.key")
    assert board.sh("stat -c '%U %a %n' /home/pi/fission /etc/fission/keys /etc/fission/keys/*").splitlines() == [
        "pi 755 /home/pi/fission",
        "pi 700 /etc/fission/keys",
        *(f"pi 600 /etc/fission/keys/{name}" for name in keys),
    ]
    assert "enable fission" in board.commands()
    assert sorted(board.sh("ls /opt/fission/venvs/*").split()) == ["complete", "env", "requirements.txt"]  # the wheels are gone
    assert board.sh("find /opt/fission ! -user root") == ""
    board.sh("mkdir -p /home/pi/fission/net; echo line > /home/pi/fission/net/fission.log; chown -R pi:pi /home/pi/fission/net")
    if shutil.which("logrotate") is not None:
        board.sh("logrotate --force /etc/logrotate.d/fission && test -s /home/pi/fission/net/fission.log.1.gz")


def test_a_network_runs_on_them(boards: Boards) -> None:
    write_network(boards, 200)
    done = boards.run("counters", "run", deadline_s=200)
    assert done.exit_code == 0, f"{done}\n{boards.logs()}"
    assert "on node board" in done.stderr + done.stdout
    assert rows(boards) == squares(200)


def test_renewing_under_a_running_network(boards: Boards) -> None:
    """Each service is restarted, the second one after the first is back; every block arrives once and in order."""
    write_network(boards, 0)
    before = [len(board.commands()) for board in boards]
    with start_fission(("counters", "run"), boards.project, env=boards.env) as client:
        eventually(lambda: len(rows(boards)) > 50, 100, lambda: f"50 rows\n{client.stderr}")
        done = command(boards, "fission provision renew")
        assert lines_of(done) == {"board1": ["renewed, 1 change"], "board2": ["renewed, 1 change"]}
        came = len(rows(boards))
        eventually(lambda: len(rows(boards)) > came + 50, 100, lambda: f"50 more rows\n{client.stderr}")
        boards.run("counters", "stop").expect(0)
        text = client.wait(100).stderr
    assert re.search("board1.* left", text), text
    assert re.search("board2.* left", text), text
    assert rows(boards) == squares(len(rows(boards)))
    for board, commands in zip(boards, before, strict=True):
        assert board.commands()[commands:].count("restart fission") == 1


def test_an_additional_package(boards: Boards) -> None:
    """A package that is not there yet: a new environment, the services are restarted, the old environment is removed."""
    settings = boards.project / "ansible/inventories/production/group_vars/fissionservers/setting.yml"
    text = settings.read_text()
    settings.write_text(
        text.replace("pip3_packages: []", 'pip3_packages:\n  - name: dispy\n  - name: no-such-package\n    version: "1.0"\n', 1)
    )
    done = command(boards, "fission provision servers --limit board1", exit_code=1)
    assert "failed: the package index has no no-such-package==1.0" in done.stdout
    assert "board1: running" in command(boards, "fission provision status --limit board1").stdout  # with what it had
    settings.write_text(text.replace("pip3_packages: []", "pip3_packages:\n  - name: dispy\n  - name: pyzmq\n", 1))
    done = command(boards, "fission provision servers --limit board1 --verbose")
    assert "board1: changed: Restart the service" in done.stdout
    assert len(boards[0].sh("ls /opt/fission/venvs").split()) == 1
    assert boards[0].sh("cat /opt/fission/venvs/*/requirements.txt").splitlines()[1:] == [
        f"./wheels/fission_networks_pypelinin-{fission.__version__}-py3-none-any.whl",
        f"distributed=={metadata.version('distributed')}",  # that of the client, which refuses others
        "pyzmq",  # FISSION needs no dispy
    ]
    settings.write_text(text)


def test_stopping_and_starting(boards: Boards) -> None:
    assert lines_of(command(boards, "fission provision stop"))["board2"] == ["stopped, 1 change"]
    found = json.loads(command(boards, "fission provision status --json").stdout)
    assert [found["hosts"][name]["state"] for name in ("board1", "board2")] == ["stopped", "stopped"]
    assert lines_of(command(boards, "fission provision start"))["board2"] == ["started, 1 change"]
    assert lines_of(command(boards, "fission provision start"))["board2"] == ["was running, no change"]
    assert lines_of(command(boards, "fission provision restart"))["board2"] == ["restarted, 1 change"]
    assert re.fullmatch(r"running since .*, FISSION \d+\.\d+\.\d+", lines_of(command(boards, "fission provision status"))["board1"][0])
    log = lines_of(command(boards, "fission provision logs --lines 100"))
    assert sum("waits for a client at" in line for line in log["board2"]) >= 3


def test_a_board_that_is_down(boards: Boards) -> None:
    boards[1].host.link(False)
    done = command(boards, "fission provision servers", exit_code=1)
    boards[1].host.link(True)
    assert re.match(
        "failed: it does not answer; switch it on, .*: fission provision servers --limit board2", lines_of(done)["board2"][0]
    ), done
    assert lines_of(done)["board1"][0].startswith("ready"), done  # board1 is finished; its packages are those of setting.yml again


def test_removing(boards: Boards) -> None:
    assert "would change" in command(boards, "fission provision remove --check").stdout
    done = command(boards, "fission provision remove")
    assert all(lines[0].startswith("removed, ") for lines in lines_of(done).values()), done
    for board in boards:
        left = board.sh("ls -d /opt/fission /etc/fission /etc/systemd/system/fission.service /etc/logrotate.d/fission 2>&1", ok=False)
        assert left.count("No such file") == 4, left
        assert board.sh("pgrep -f '[f]ission node'", ok=False) == ""
    assert set(map(tuple, lines_of(command(boards, "fission provision remove")).values())) == {("nothing to remove, no change",)}
    assert "board1: not set up" in command(boards, "fission provision status").stdout
    done = command(boards, "fission provision start --limit board1", exit_code=1)
    assert "failed: FISSION is not set up on it; run: fission provision servers --limit board1" in done.stdout
