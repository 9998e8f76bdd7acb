"""What is wrong with a board is one line; the other boards are finished."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.provision.boards import PASSWORD, PYTHON, Boards, lines_of
from tests.waiting import start_fission

# One fixture for all: each test repairs what it has broken.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def boards(make_boards: Callable[..., Boards]) -> Boards:
    """Two boards without a package index; the disk of the second one has no room for FISSION."""
    return make_boards(2, disk_bytes=(2 << 30, 40 << 20))


def failure(boards: Boards, host: str, *words: str, env: dict[str, str | None] | None = None) -> str:
    """Run `servers`, which must fail on the host, and return its line."""
    done = boards.provision("servers", *words, exit_code=1, env=env)
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"{host}: ")]
    assert len(lines) == 1, done
    assert done.stderr == "", done
    assert lines[0].startswith(f"{host}: failed: "), done
    return lines[0].removeprefix(f"{host}: failed: ")


def test_an_old_python_and_no_sudo(boards: Boards) -> None:
    """Two boards with one fault each: each has its own line."""
    old = r"#!/bin/sh\necho python=3.9.2\necho bits=64\necho machine=aarch64\n"
    boards[0].sh(f"printf '{old}' > /usr/bin/python-old; chmod 755 /usr/bin/python-old")
    boards.write_hosts({"board1": {"fission_python": "/usr/bin/python-old"}})
    boards[1].sh("rm /etc/sudoers.d/pi")
    done = boards.provision("servers", exit_code=1)
    boards.write_hosts()
    lines = lines_of(done)
    what = "failed: Python must be 3.10 or newer, but /usr/bin/python-old is 3.9.2"
    assert lines["board1"] == [f"{what}; upgrade its system, or set fission_python in setting.yml to a newer one"]
    assert lines["board2"] == ["failed: sudo asks for a password; type it: --ask-become-pass (make servers asks for it)"], done
    wrong = boards.folder / "wrong"
    wrong.write_text(PASSWORD)
    line = failure(boards, "board2", "--limit", "board2", env={"ANSIBLE_BECOME_PASSWORD_FILE": str(wrong)})
    assert line.startswith("ansible_user may not use sudo; on board2, run as root: adduser USER sudo"), line
    boards[1].sh("echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi")


def test_files_of_others_stay(boards: Boards) -> None:
    """A unit of the same name, and a folder of root's with files: neither is changed, by `servers`, `remove` or any other command."""
    unit, text = "/etc/systemd/system/fission.service", "[Service]\nExecStart=/bin/mine\n"
    boards[0].sh(f"printf '{text}' > {unit}")
    boards[1].sh("mkdir -m 751 /srv/data; touch /srv/data/mine")
    boards.write_hosts({"board2": {"fission_root": "/srv/data"}})
    done = boards.provision("servers", exit_code=1)
    lines = lines_of(done)
    assert lines["board1"][0].startswith(f"failed: FISSION needs the place of {unit}, which it has not written; on board1, move"), done
    assert lines["board2"][0].startswith("failed: the folder /srv/data must belong to pi, but belongs to root and has files; name"), done
    for command in ("start", "stop", "restart"):
        done = boards.provision(command, "--limit", "board1", exit_code=1)
        assert lines_of(done)["board1"][0].startswith(f"failed: FISSION needs the place of {unit}, which it has not written"), done
    assert not [line for line in boards[0].commands() if line.split()[0] in ("start", "stop", "restart")]
    boards.provision("remove", "--purge")
    boards.write_hosts()
    assert boards[0].sh(f"cat {unit}; rm {unit}") == text
    assert boards[1].sh("stat -c '%U %a' /srv/data; ls /srv/data; rm -r /srv/data").split() == ["root", "751", "mine"]


def test_what_would_change(boards: Boards) -> None:
    """--check on a new board changes nothing."""
    done = boards.provision("servers", "--check", "--limit", "board1")
    assert re.match("would change: .*Copy FISSION's wheel.*Write the unit of the service", lines_of(done)["board1"][0]), done
    assert boards[0].sh("ls -d /opt/fission /etc/systemd/system/fission.service 2>/dev/null", ok=False) == ""


def test_no_index(boards: Boards) -> None:
    line = failure(boards, "board1", "--limit", "board1")
    assert re.match("it cannot reach a package index; bring the packages along: .* --limit board1 --wheelhouse wheelhouse", line), line


def test_an_incomplete_wheelhouse(boards: Boards, wheelhouse: Path) -> None:
    house = boards.folder / "incomplete"
    house.mkdir()
    for wheel in wheelhouse.glob("[!m]*.whl"):
        (house / wheel.name).symlink_to(wheel)
    line = failure(boards, "board1", "--limit", "board1", "--wheelhouse", str(house))
    assert re.match(r"the wheelhouse has no m[a-z]+.* for its Python and processor; add the wheel:", line), line


def test_a_full_disk(boards: Boards, wheelhouse: Path) -> None:
    line = failure(boards, "board2", "--limit", "board2", "--wheelhouse", str(wheelhouse))
    what = "its disk must have 300 MB free, but has [0-9]+"
    assert re.match(f"{what}; on board2, look with df -h and make room; then: .*--limit board2", line), line


def test_passwords(boards: Boards) -> None:
    """Without a key: a wrong ssh password, then the right ones, typed at a terminal."""
    board = boards[0]
    board.sh("mv /home/pi/.ssh/authorized_keys /root/; echo 'pi ALL=(ALL) ALL' > /etc/sudoers.d/pi")
    line = failure(boards, "board1", "--limit", "board1")
    assert line.startswith("ssh refuses the login; copy your key to it with ssh-copy-id"), line
    wrong = boards.folder / "wrong"
    for ssh, sudo, expected in (
        ("mistyped", PASSWORD, "board1: failed: ssh refuses the password; type the one of ansible_user on board1"),
        (PASSWORD, "mistyped", "board1: failed: sudo refuses the password; type the one of ansible_user on board1"),
        (PASSWORD, PASSWORD, "board1: not set up"),
    ):
        words = ("provision", "status", "--limit", "board1", "--ask-pass", "--ask-become-pass")
        with start_fission(words, boards.project, terminal=True, env=boards.env) as running:
            running.wait_for("SSH password: ", 60, partial=True)
            running.send_line(ssh)
            running.wait_for(re.compile("BECOME password.*: "), 60, partial=True)
            running.send_line(sudo)
            done = running.wait(200)
        boards.end_connections()
        assert expected in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout), done
    wrong.unlink(missing_ok=True)
    board.sh("mv /root/authorized_keys /home/pi/.ssh/; echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pi")


def test_a_service_that_does_not_start(boards: Boards) -> None:
    """The unit exists, and what it starts fails: the line names the log."""
    unit = f'# fission provision\\n[Service]\\nType=notify\\nExecStart={PYTHON} -c "raise SystemExit(1)"\\nRestart=always\\nRestartSec=2\\n'
    boards[0].sh(f"printf '{unit}' > /etc/systemd/system/fission.service")
    done = boards.provision("start", "--limit", "board1", exit_code=1)
    boards[0].sh("systemctl stop fission; rm /etc/systemd/system/fission.service")
    assert done.stdout == "board1: failed: the service does not start; its log says why: fission provision logs --limit board1\n"
