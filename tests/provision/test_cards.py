"""A card from its first boot to its removal: set up with packages of apt, used with a read-only root, and cleared of all of FISSION."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.provision.boards import PYTHON, Board, Boards, lines_of
from tests.provision.debian_repository import build, install_sources
from tests.provision.networks import rows, squares, write_network
from tests.waiting import eventually, start_fission

# One fixture for all: the tests are in the order in which a card is used.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(600)]

#: A Python that lacks the module venv until the package has come, as Debian's does.
BARE_PYTHON = f"""#!/bin/sh
case "$*" in *ensurepip*) [ -e /usr/share/venv-module ] || exit 1 ;; esac
exec {PYTHON} "$@"
"""
BATCTL = """#!/bin/sh
id -un >> /run/batctl-called-by
chmod 666 /run/batctl-called-by 2>/dev/null
"""
#: What apt and useradd write for themselves: records, caches, and backups of the lists of users.
EXCLUDED = re.compile(r"/var/(lib/(apt|dpkg)|cache)/|__pycache__|\betc/[a-z]+-([|]|$)|^/run/(notify-|service-manager|sudo|batctl)")


def tree(board: Board) -> set[str]:
    """Return what was ever written to the board and is there now: files with owner, mode, size and, in /etc, digest."""
    shape = "|%y|%u|%g|%m|%s\\n"
    found = board.outside(
        f"cd {board.folder}/upper; find . ! -type d -printf '/%P{shape}'; find . -type d -printf '/%P|%y|%u|%g|%m\\n'; "
        "find etc -type f -exec md5sum {} +"
    )
    memory = board.sh(f"find /home /root /tmp /run /dev/shm /srv /mnt -mindepth 1 -xdev -printf '%p{shape}'", ok=False)
    return {
        line
        for line in [*found.splitlines(), *memory.splitlines()]
        if not EXCLUDED.search(line) and not ("|d|" in line and Path(line.split("|")[0]).is_dir())  # overlayfs has noted it
    }


@pytest.fixture(scope="module")
def boards(make_boards: Callable[..., Boards], tmp_path_factory: pytest.TempPathFactory) -> Boards:
    """Two boards: the first one keeps its folder in memory and has a user for the service; the second one lacks two packages."""
    if shutil.which("dpkg-deb") is None or shutil.which("apt-get") is None:
        pytest.skip("needs apt and dpkg")
    made = make_boards(2)
    repository = tmp_path_factory.mktemp("packages")
    build(repository, {"python3-venv": {"/usr/share/venv-module": ""}, "batctl": {"/usr/sbin/batctl": BATCTL}})
    for board in made:
        install_sources(board, repository)
        board.sh(f"cat > /usr/bin/bare-python <<'END'\n{BARE_PYTHON}END\nchmod 755 /usr/bin/bare-python")
        board.sh("dpkg --remove --force-depends python3-venv batctl; rm -f /usr/sbin/batctl", ok=False)
    made.write_hosts(
        {
            "board1": {"fission_tmpfs_mb": "64", "fission_user": "fission"},
            "board2": {"fission_python": "/usr/bin/bare-python", "fission_batctl": "true"},
        }
    )
    return made


@pytest.fixture(scope="module")
def clean(boards: Boards) -> dict[str, set[str]]:
    """The files of each board before it is set up."""
    return {board.name: tree(board) for board in boards}


def test_setting_up(boards: Boards, clean: dict[str, set[str]], wheelhouse: Path) -> None:
    done = boards.provision("servers", "--wheelhouse", str(wheelhouse), "--verbose")
    steps = {name: [line.removeprefix("changed: ") for line in lines] for name, lines in lines_of(done).items()}
    assert "Mount the folder" in steps["board1"], done
    assert "Install batctl" not in steps["board1"], done
    assert {"Install python3-venv", "Install batctl"} <= set(steps["board2"]), done
    installed = boards[1].sh("dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\\n' python3-venv batctl")
    assert installed.splitlines() == ["batctl 99.0 installed", "python3-venv 99.0 installed"]
    assert "AmbientCapabilities=CAP_NET_ADMIN" in boards[1].sh("cat /etc/systemd/system/fission.service")
    mounted = boards[0].sh("findmnt --noheadings --output SOURCE,FSTYPE,SIZE /var/lib/fission/fission").split()
    assert mounted == ["fission", "tmpfs", "64M"]
    assert boards[0].sh("stat -c '%U %G %a' /var/lib/fission/fission").split() == ["fission", "fission", "755"]


def test_another_size(boards: Boards, wheelhouse: Path) -> None:
    path = boards.project / "ansible/inventories/production/hosts.yml"
    path.write_text(path.read_text().replace("fission_tmpfs_mb: 64", "fission_tmpfs_mb: 96"))
    done = boards.provision("servers", "--wheelhouse", str(wheelhouse), "--limit", "board1", "--verbose")
    assert "board1: changed: Restart the service" in done.stdout
    assert boards[0].sh("findmnt --noheadings --output SIZE /var/lib/fission/fission").split() == ["96M"]
    assert lines_of(boards.provision("servers", "--wheelhouse", str(wheelhouse)))["board1"][0] == "ready, no change"


def test_a_network_on_a_read_only_root(boards: Boards) -> None:
    """Nothing but memory can be written on board1, and the network runs; what it has written is where docs/boards.md says."""
    card = boards[0]
    # what docs/boards.md asks for beside the setting: /tmp, /run and /var/log are in memory
    card.sh("mount -o remount,ro / && mount -o remount,ro /home && ! touch /etc/written && ! touch /home/written")
    card.sh("systemctl restart fission")
    write_network(boards, 0)
    with start_fission(("counters", "run"), boards.project, env=boards.env) as client:
        eventually(lambda: len(rows(boards)) > 100, 100, lambda: f"100 rows\n{client.stderr}\n{boards.logs()}")
        assert card.sh("stat -c '%U %a' /run/fission").split() == ["fission", "700"]
        assert re.search(r"/run/fission/fission-\w+", card.sh("find /run/fission -type d"))
        assert card.sh("find /tmp /var/tmp -name 'fission-*'") == ""
        written = card.sh("find /var/lib/fission/fission -mindepth 1 -maxdepth 2").split()
        assert "/var/lib/fission/fission/counters/fission.log" in written, written
        assert "/var/lib/fission/fission/.archives" in written
        boards.run("counters", "stop").expect(0)
        text = client.wait(100).stderr
    assert re.search(r"SquareJob 2 started on node board|on node board", text), text
    assert rows(boards) == squares(len(rows(boards)))
    if "batctl" in boards[1].sh("ls /run"):
        assert set(boards[1].sh("cat /run/batctl-called-by").split()) == {"pi"}  # the service asks the mesh
    card.sh("systemctl stop fission && ! ls -d /run/fission")
    card.sh("mount -o remount,rw / && mount -o remount,rw /home")


def test_nothing_is_left(boards: Boards, clean: dict[str, set[str]]) -> None:
    mine = "/home/pi/fission/mine.txt"
    boards[1].sh(f"echo mine > {mine}")
    others = ["/opt/fission/mine.txt", "/etc/fission/mine.txt", "/var/lib/fission/mine.txt"]
    boards[0].sh("".join(f"echo mine > {path};" for path in others))
    lines = lines_of(boards.provision("remove"))
    assert all(found[0].startswith("removed, ") for found in lines.values()), lines
    assert "fission.log" in boards[0].sh("ls /var/lib/fission/fission/counters")  # without --purge, the data stays
    lines = lines_of(boards.provision("remove", "--purge"))
    assert lines["board2"][1:] == [f"note: /home/pi/fission stays: it has files that are not of FISSION, such as {mine}"], lines
    note = "note: the user fission stays: its home folder has files that are not of FISSION, such as /var/lib/fission/mine.txt"
    assert lines["board1"][1:] == [note], lines
    assert boards[0].sh("find /opt/fission /etc/fission -type f; ls -d /var/lib/fission/*").split() == others
    boards[0].sh(f"rm {' '.join(others)}; rmdir /opt/fission /etc/fission")
    assert boards[1].sh("find /home/pi/fission").split() == ["/home/pi/fission", mine]
    boards[1].sh(f"rm {mine}")
    assert lines_of(boards.provision("remove", "--purge"))["board2"] == ["removed, 1 change"]
    for board in boards:
        left = tree(board)
        packages = {line for line in left if "batctl" in line or "venv-module" in line}  # other programs may use them
        assert sorted(left - packages - clean[board.name]) == [], board.name
        assert sorted(clean[board.name] - left) == [], board.name
        assert board.sh("pgrep -f '[f]ission'", ok=False) == ""
    assert set(map(tuple, lines_of(boards.provision("remove", "--purge")).values())) == {("nothing to remove, no change",)}
