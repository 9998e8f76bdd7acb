"""Installations that are interrupted by Ctrl-C or a power cut, and two at once: the next run of `servers` makes the boards whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.provision.boards import Board, Boards, lines_of
from tests.versions import HERE, NEXT, wheel_of
from tests.waiting import eventually, start_fission

# One fixture for all: the tests are in the order of a board's use.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]

#: What is there of a first installation: the first keys; packages.
MOMENTS = {
    "keys": "ls /etc/fission/keys/ca.pem",
    "packages": "ls -d /opt/fission/venvs/*/env/lib/*/site-packages/zmq",
}
VENV = re.compile("/opt/fission/venvs/[0-9a-f]{12}")


@pytest.fixture(scope="module")
def boards(make_boards: Callable[..., Boards]) -> Boards:
    return make_boards(2)


@pytest.fixture(scope="module")
def next_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(tmp_path_factory.mktemp("next"), NEXT)


def check_whole(boards: Boards, version: str, words: tuple[str, ...]) -> None:
    """Check that the boards run this version, that nothing else is left, and that another run changes nothing."""
    for board in boards:
        unit = board.sh("cat /etc/systemd/system/fission.service")
        (venv,) = set(VENV.findall(unit))
        assert board.sh("ls -d /opt/fission/venvs/*").split() == [venv]
        assert sorted(board.sh(f"ls {venv}").split()) == ["complete", "env", "requirements.txt"]
        assert f"-{version}-" in board.sh(f"cat {venv}/complete")
        assert venv in board.sh("tr '\\0' ' ' < /proc/$(systemctl show fission --property=MainPID | cut -d= -f2)/cmdline")
        eventually(lambda board=board: "waits for a client" in board.sh("tail -n 1 /var/log/units/fission.log"), 30, boards.logs)
    done = boards.provision("servers", *words)
    assert set(map(tuple, lines_of(done).values())) == {("ready, no change",)}, done


def forget_interrupted_runs(boards: Boards) -> None:
    """Make their marks and wheels older than an hour: until then, they might be those of another administrator's run."""
    for board in boards:
        board.sh("find /opt/fission/venvs -maxdepth 2 -name '*.[0-9]*' -exec touch -d '2 hours ago' {} +")


def is_there(board: Board, moment: str) -> bool:
    return bool(board.sh(f"{MOMENTS[moment]} 2>/dev/null", ok=False))


def test_ctrl_c_at_any_moment(boards: Boards, wheelhouse: Path) -> None:
    words = ("--wheelhouse", str(wheelhouse))
    for moment in MOMENTS:
        with start_fission(("provision", "servers", *words), boards.project, env=boards.env) as running:
            eventually(lambda moment=moment: is_there(boards[0], moment), 200, lambda moment=moment: f"{moment} on board1")
            running.interrupt()
            done = running.wait(60)
        boards.end_connections()
        assert done.exit_code == 130, done
        assert "Traceback" not in done.stderr, done
    done = boards.provision("servers", *words)
    assert all(lines[0].startswith("ready, ") for lines in lines_of(done).values()), done
    forget_interrupted_runs(boards)
    boards.provision("servers", *words)
    check_whole(boards, HERE, words)


def test_a_board_loses_its_power_in_the_middle(boards: Boards, wheelhouse: Path, next_wheel: Path) -> None:
    """A new version comes; the other board is finished, and this one runs the old version until the next run."""
    words = ("--wheelhouse", str(wheelhouse), "--wheel", str(next_wheel))
    with start_fission(("provision", "servers", *words), boards.project, env=boards.env) as running:
        packages = f"{MOMENTS['packages']} | wc -l"
        eventually(lambda: boards[1].sh(packages).strip() == "2", 200, "packages of both versions")
        boards[1].power_off()
        done = running.wait(200)
    boards.end_connections()
    boards[1].power_on()
    assert done.exit_code == 1, done
    assert lines_of(done)["board1"][0].startswith("ready, "), done
    assert lines_of(done)["board2"][0].startswith("failed: it does not answer; switch it on"), done
    assert f"FISSION {HERE}" in lines_of(boards.provision("status", "--limit", "board2"))["board2"][0]
    forget_interrupted_runs(boards)
    assert lines_of(boards.provision("servers", *words))["board2"][0].startswith("ready, ")
    check_whole(boards, NEXT, words)


def test_an_older_version_comes_back(boards: Boards, wheelhouse: Path) -> None:
    words = ("--wheelhouse", str(wheelhouse))
    done = boards.provision("renew", *words)
    assert all(lines[0].startswith("renewed, ") for lines in lines_of(done).values()), done
    check_whole(boards, HERE, words)


def test_two_administrators_with_different_versions(boards: Boards, wheelhouse: Path, next_wheel: Path) -> None:
    """Both succeed; each board has one of the versions, whole, and the next run decides which."""
    here, other = ("--wheelhouse", str(wheelhouse)), ("--wheelhouse", str(wheelhouse), "--wheel", str(next_wheel))
    with (
        start_fission(("provision", "servers", *here), boards.project, env=boards.env) as first,
        start_fission(("provision", "servers", *other), boards.project, env=boards.env) as second,
    ):
        for running in (first, second):
            done = running.wait(300)
            assert done.exit_code == 0, f"{done}\n{boards.logs()}"
    boards.end_connections()
    assert lines_of(boards.provision("status")).keys() == {"board1", "board2"}
    boards.provision("servers", *here)
    check_whole(boards, HERE, here)
