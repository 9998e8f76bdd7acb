"""Boards to set up: hosts of tests/cluster/hosts.py, each with a root file system, processes, users and an sshd of its own.

The root file system is an overlay over that of this machine, whose changes are in memory: what the role installs, writes and removes
there exists on that board only, and is gone with it. A board does not see this repository, home folders, /tmp, and the configuration of
pip. In place of systemd it has tests/provision/service_manager_stand_in.py.

::

    def test_setting_up(boards):
        one, other = boards(2)
        one.sh("rm /usr/bin/sudo")                # a command as root on it
        boards.provision("servers", "--limit", "board1")
"""

from __future__ import annotations

import contextlib
import importlib.metadata as metadata
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from fission.adapters.keys import make_keys
from fission.cli.extras import distribution
from fission.provision.playbook import SSH_ARGS
from fission.provision.wheel import pack_distribution
from tests.cluster.hosts import Host, Hosts, require
from tests.hygiene import fixture_trees
from tests.waiting import Finished, eventually, run_fission

ROOT = Path(__file__).parent.parent.parent
STAND_IN = Path(__file__).parent / "service_manager_stand_in.py"
#: The Python of boards: that of this virtual environment, so that its packages fit.
PYTHON = f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}"
PROGRAMS = ("/usr/sbin/sshd", "ssh", "sudo", "unshare")
PASSWORD, SUDO_PASSWORD = "raspberry", "raspberry"
BOOT_S = 20.0
DISK_BYTES = 2 << 30

#: Makes the root file system, and keeps it until its standard input ends: a disk outlives the board's power. Its user is `pi`.
#: Arguments: folder of the board, bytes of its disk.
DISK = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=$2 disk "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" overlay "$1/root"
root="$1/root"
for hidden in root home work mnt srv HIDDEN; do
    [ -d "$root/$hidden" ] && mount -t tmpfs tmpfs "$root/$hidden"
done
mount -t tmpfs tmpfs "$root/var/log"
chmod 711 "$root/root"
[ PREFIX = /usr ] || { mkdir -p "$root"PREFIX; mount --bind PREFIX "$root"PREFIX; }
mount --rbind /dev "$root/dev"
: > "$root/etc/fstab"
rm -rf "$root/etc/pip.conf" "$root/etc/systemd/system"; mkdir "$root/etc/systemd/system"
rm "$root"/usr/bin/systemctl
for name in systemctl journalctl timedatectl; do
    { echo '#!PYTHON -I'; cat STAND_IN; } > "$root/usr/bin/$name"
    chmod 755 "$root/usr/bin/$name"
done
useradd --root "$root" --create-home --shell /bin/bash pi
echo 'pi:PASSWORD' | chroot "$root" chpasswd
echo 'pi ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/pi"
mkdir -m 700 "$root/home/pi/.ssh"; cat KEY.pub > "$root/home/pi/.ssh/authorized_keys"; chroot "$root" chown -R pi:pi /home/pi
rm -f "$root"/etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/board_key"
printf 'HostKey /etc/ssh/board_key\\nUsePAM no\\nStrictModes no\\nSubsystem sftp internal-sftp\\nPidFile none\\n' > "$root/etc/ssh/board"
echo made
exec cat
"""
#: Adds what is in memory, and becomes the board's first process. Argument: folder of the board.
BOOT = """
set -e
root="$1/root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
[ ! -d /sys/fs/cgroup ] || mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/sshd" "$root/run/systemd/system"
exec chroot "$root" PYTHON /usr/bin/systemctl boot
"""


class Board:
    """One board. Made by `Boards`."""

    def __init__(self, host: Host, name: str, folder: Path, key: Path, disk_bytes: int) -> None:
        self.host, self.name, self.folder = host, name, folder
        self.ip = host.ip
        folder.mkdir(parents=True)
        self.log_file = folder.with_suffix(".log")
        script = DISK
        for word, text in (
            ("HIDDEN", str(ROOT).lstrip("/")),
            ("STAND_IN", shlex.quote(str(STAND_IN))),
            ("PASSWORD", PASSWORD),
            ("KEY", shlex.quote(str(key))),
            ("PYTHON", PYTHON),
            ("PREFIX", shlex.quote(sys.base_prefix)),
        ):
            script = script.replace(word, text)
        words = ["unshare", "--mount", "sh", "-c", script, "disk", str(folder), str(disk_bytes)]
        with open(self.log_file, "ab") as log:
            self.disk = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", start_new_session=True)
        fixture_trees.add(self.disk.pid)
        try:
            assert self.disk.stdout is not None
            assert self.disk.stdout.readline() == b"made\n", self.log_file.read_text()
            self.power_on()
        except BaseException:
            self.close()
            raise

    def power_on(self) -> None:
        """Boot the board; its services that are enabled start. Returns when its sshd listens."""
        self.host.link(True)
        words = ["nsenter", f"--mount=/proc/{self.disk.pid}/ns/mnt", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        words += ["sh", "-c", BOOT.replace("PYTHON", PYTHON), "boot", str(self.folder)]
        with open(self.log_file, "ab") as log:
            self.process = self.host.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        fixture_trees.add(self.process.pid)
        eventually(self._listens, BOOT_S, lambda: f"{self.name} has an sshd:\n{self.log_file.read_text()}")

    def power_off(self) -> None:
        """Cut the power: nothing leaves the board from here on, and all of its processes end at once. What is on its disk stays."""
        self.host.link(False)
        os.kill(self.first_pid, signal.SIGKILL)
        self.host.kill()
        fixture_trees.discard(self.process.pid)

    def close(self) -> None:
        """End the board and remove its disk."""
        fixture_trees.difference_update({self.disk.pid, self.process.pid} if hasattr(self, "process") else {self.disk.pid})
        self.host.close()
        self.disk.kill()
        self.disk.communicate()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log_file.read_text()
        listening = subprocess.run(["ip", "netns", "exec", self.host.name, "ss", "-Hltn", "sport = :22"], capture_output=True, check=False)
        return bool(listening.stdout)

    @property
    def first_pid(self) -> int:
        """The board's first process, as this machine numbers it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def sh(self, command: str, *, ok: bool = True, limit_s: float = 60.0) -> str:
        """Run a shell command as root on the board, and return its output."""
        words = ["nsenter", "--target", str(self.first_pid), "--mount", "--pid", "--net", "--root", "--wdns=/", "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
        assert done.returncode == 0 or not ok, f"{self.name}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def outside(self, command: str) -> str:
        """Run a shell command that sees the layers of the board's root file system, in its folder `upper`; return its output."""
        words = ["nsenter", "--target", str(self.first_pid), "--mount", "--wdns=/", "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{self.name}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def put(self, folder: Path, target: str) -> None:
        """Copy a folder of this machine to the board."""
        archive = subprocess.run(["tar", "-C", str(folder), "-ch", "."], stdout=subprocess.PIPE, check=True).stdout
        words = ["nsenter", "--target", str(self.first_pid), "--mount", "--pid", "--root", "--wdns=/", "sh", "-c"]
        subprocess.run([*words, f"mkdir -p {target} && tar -C {target} -x"], input=archive, check=True, timeout=60)

    def commands(self) -> list[str]:
        """Return the commands that its service manager has got."""
        return self.sh("cat /var/log/units/commands", ok=False).splitlines()


class Boards:
    """Boards, a project with their inventory, keys and a wheelhouse. Made by fixtures."""

    def __init__(self, count: int, folder: Path, *, disk_bytes: Sequence[int] = ()) -> None:
        require()
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if missing:
            pytest.skip(f"boards need {', '.join(missing)}: scripts/install-debian-packages")
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.key = self.home / ".ssh" / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        make_keys(self.home / ".fission" / "keys")
        self.network = Hosts(count)
        self._boards: list[Board] = []
        disks = disk_bytes or [DISK_BYTES] * count
        try:
            for index, host in enumerate(self.network, 1):
                self._boards.append(Board(host, f"board{index}", folder / "boards" / f"board{index}", self.key, disks[index - 1]))
            self.run("provision", "init").expect(0)
            self.write_hosts()
        except BaseException:
            self.close()
            raise

    def __getitem__(self, index: int) -> Board:
        return self._boards[index]

    def __iter__(self) -> Iterator[Board]:
        return iter(self._boards)

    @property
    def env(self) -> dict[str, str | None]:
        """The environment of commands: a home of its own. ssh looks up the user's home by itself, so it needs options."""
        options = [f"-o IdentityFile={self.key}", f"-o UserKnownHostsFile={self.home}/.ssh/known_hosts", "-o IdentitiesOnly=yes", "-F none"]
        return {
            "HOME": str(self.home),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "ANSIBLE_SSH_ARGS": " ".join([SSH_ARGS, "-o ConnectTimeout=5", *options]),
            # the socket's path must be short
            "ANSIBLE_SSH_CONTROL_PATH_DIR": os.environ["TMPDIR"] + "/cp",
            "FISSION_KEYS": None,
        }

    def write_hosts(self, settings: Mapping[str, Mapping[str, str]] | None = None, *, nodes: Sequence[Board] = ()) -> None:
        """Write hosts.yml: these boards (default: all), with further variables of hosts."""
        lines = ["fissionservers:", "  hosts:"]
        for board in nodes or self._boards:
            values = {"ansible_host": board.ip, "fission_python": PYTHON, **((settings or {}).get(board.name, {}))}
            lines += [f"    {board.name}:", *(f"      {key}: {value}" for key, value in values.items())]
        (self.project / "ansible" / "inventories" / "production" / "hosts.yml").write_text("\n".join(lines) + "\n")

    def run(self, *words: str, deadline_s: float = 400.0, env: Mapping[str, str | None] | None = None) -> Finished:
        """Run a command of fission in the project."""
        try:
            return run_fission(words, self.project, deadline_s=deadline_s, env={**self.env, **(env or {})})
        finally:
            self.end_connections()

    @staticmethod
    def end_connections() -> None:
        """End the connections that ssh keeps for a minute; pytest has adopted their processes (tests/hygiene.py)."""
        masters = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):  # it has ended
                if "[mux]" in " ".join(child.cmdline()):
                    child.terminate()
                    masters.append(child)
        psutil.wait_procs(masters, timeout=10)

    def provision(self, command: str, *words: str, exit_code: int | None = 0, env: Mapping[str, str | None] | None = None) -> Finished:
        """Run ``fission provision COMMAND``."""
        try:
            return self.run("provision", command, *words, env=env).expect(exit_code)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.logs()}") from None

    def logs(self) -> str:
        """Return what the boards have logged."""
        return "\n".join(f"--- {board.name}\n{board.sh('tail -n 20 /var/log/units/*', ok=False)}" for board in self._boards)

    def close(self) -> None:
        """End the boards."""
        for board in self._boards:
            board.close()
        self.network.close()


def make_wheelhouse(folder: Path, *extras: str, more: Sequence[str] = ()) -> Path:
    """Pack the packages that FISSION with these extras needs, as installed here, into wheels; return the folder.

    ``more``: names of further packages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = distribution()
    assert ours is not None
    wanted, done = needed_by(ours, frozenset(extras)), set[str]()
    wanted += [(name, frozenset[str]()) for name in more]
    while wanted:
        name, its_extras = wanted.pop()
        if name in done:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for other systems
        pack_distribution(found, folder)
        done.add(name)
        wanted += needed_by(found, its_extras)
    return folder


def needed_by(found: metadata.Distribution, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """Return what a distribution with these extras needs, each with its own extras."""
    needed = []
    for requirement in found.requires or ():
        match = re.match(r"(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^\]]*)\])?", requirement)
        assert match is not None
        condition = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        if condition is None or condition[1] in extras:
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            needed.append((name, frozenset(filter(None, (match["extras"] or "").split(",")))))
    return needed


def lines_of(done: Finished) -> dict[str, list[str]]:
    """Return what a command has written about each host."""
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        host, _, text = line.partition(": ")
        found.setdefault(host, []).append(text)
    return found
