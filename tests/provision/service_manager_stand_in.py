"""A stand-in for systemd, where systemd cannot run: the first process of a board in tests/provision/boards.py.

Installed on the board as /usr/bin/systemctl, journalctl and timedatectl, and called by these names; called with the word ``boot``, it
is the manager. It mounts what fstab lists in memory, starts the board's sshd and runs units of Type=notify: User, WorkingDirectory,
RuntimeDirectory, Environment, ExecStart, Restart=always and RestartSec; all other settings are for the real systemd, and
`systemd-analyze` checks them. What a unit prints goes to /var/log/units/NAME.log. Every command is recorded in /var/log/units/commands.
"""

import contextlib
import json
import os
import pwd
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

SOCKET = "/run/service-manager.sock"
UNITS = Path("/etc/systemd/system")
LOGS = Path("/var/log/units")
START_S, STOP_S = 60.0, 15.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def settings(name):
    """Return the settings of a unit file; a setting that occurs several times has its values joined."""
    found = {}
    for line in (UNITS / f"{name}.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found[key] = f"{found[key]} {value}" if key in found else value
    return found


class Unit:
    """One unit: its process, and whether it should run."""

    def __init__(self, name):
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(f"/run/notify-{name}")
        os.chmod(f"/run/notify-{name}", 0o666)
        self.name, self.process, self.wanted, self.restarts, self.since, self.again = name, None, False, 0, 0.0, None

    def start(self):
        if self.process is not None:
            return
        values = settings(self.name)
        user = pwd.getpwnam(values.get("User", "root"))
        env = {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8", "NOTIFY_SOCKET": f"/run/notify-{self.name}"}
        env.update(word.partition("=")[::2] for word in shlex.split(values.get("Environment", "")))
        if folder := values.get("RuntimeDirectory"):
            env["RUNTIME_DIRECTORY"] = f"/run/{folder}"
            os.makedirs(env["RUNTIME_DIRECTORY"], int(values.get("RuntimeDirectoryMode", "755"), 8), exist_ok=True)
            shutil.chown(env["RUNTIME_DIRECTORY"], user.pw_uid, user.pw_gid)
        self.wanted, self.since, self.again = True, time.time(), None
        with open(LOGS / f"{self.name}.log", "ab") as log:
            try:
                self.process = subprocess.Popen(
                    shlex.split(values["ExecStart"]),
                    cwd=values.get("WorkingDirectory", "/"),
                    env=env,
                    user=user.pw_uid,
                    group=user.pw_gid,
                    extra_groups=[],
                    umask=0o022,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as why:
                log.write(f"{self.name}: {why}\n".encode())
                self.again = time.monotonic() + float(values.get("RestartSec", "0.1"))

    def becomes_ready(self):
        """Wait until the unit reports that it is ready; return False if it ends before that."""
        deadline = time.monotonic() + START_S
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([self.notices], [], [], 0.05)
            if ready and b"READY=1" in self.notices.recv(1000):
                return True
        return False

    def stop(self):
        self.wanted, self.again = False, None
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.ended()

    def ended(self):
        self.process = None
        if folder := settings(self.name).get("RuntimeDirectory"):
            shutil.rmtree(f"/run/{folder}", ignore_errors=True)

    def look(self):
        """Restart the unit if it has ended, after its RestartSec."""
        if self.process is not None and self.process.poll() is not None:
            self.ended()
            if self.wanted and settings(self.name).get("Restart") == "always":
                self.again = time.monotonic() + float(settings(self.name).get("RestartSec", "0.1"))
        if self.again is not None and time.monotonic() >= self.again:
            self.restarts += 1
            self.start()

    def show(self):
        there = (UNITS / f"{self.name}.service").exists()
        state = "active" if self.process else "activating" if self.again else "inactive"
        since = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since)) if self.process else ""
        return {
            "Id": f"{self.name}.service",
            "LoadState": "loaded" if there else "not-found",
            "ActiveState": state,
            "SubState": "running" if self.process else "dead",
            "NRestarts": str(self.restarts),
            "ActiveEnterTimestamp": since,
            "MainPID": str(self.process.pid if self.process else 0),
        }


def boot():
    """Run the board until it is killed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(SOCKET)
    os.chmod(SOCKET, 0o666)
    (LOGS / "commands").touch(0o666)
    (LOGS / "commands").chmod(0o666)
    server.listen()
    units = {}
    subprocess.run(["mount", "--all", "--types", "tmpfs"], check=False)
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/board"], stderr=open(LOGS / "sshd.log", "ab"))  # noqa: SIM115
    for link in (UNITS / "multi-user.target.wants").glob("*.service"):
        units[link.stem] = Unit(link.stem)
        units[link.stem].start()
    own = {sshd.pid}
    while True:
        ready, _, _ = select.select([server], [], [], 0.1)
        for unit in units.values():
            unit.look()
        for pid in orphans(own | {unit.process.pid for unit in units.values() if unit.process}):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not ready:
            continue
        connection, _ = server.accept()
        with connection:
            words = json.loads(connection.makefile().readline())
            _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            name = words[1].removesuffix(".service") if len(words) > 1 else ""
            if name not in units:
                units[name] = Unit(name)
            unit = units[name]
            allowed = user == 0 or words[0] in ("show", "is-active", "is-enabled")
            code, text = answer(words[0], unit) if allowed else (1, "Interactive authentication required.\n")
            connection.sendall(json.dumps([code, text]).encode() + b"\n")


def orphans(own):
    """Return the children that this process has adopted."""
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()} - own


def answer(word, unit):
    """Carry a command out; return its exit code and output."""
    shown = unit.show()
    link = UNITS / "multi-user.target.wants" / f"{unit.name}.service"
    if word == "show":
        return 0, "".join(f"{key}={value}\n" for key, value in shown.items())
    if word == "is-active":
        return 0 if shown["ActiveState"] == "active" else 3, shown["ActiveState"] + "\n"
    if word == "is-enabled":
        return (0, "enabled\n") if link.is_symlink() else (1, "disabled\n")
    if word == "daemon-reload":
        return 0, ""
    if shown["LoadState"] == "not-found":
        return 5, f"Unit {unit.name}.service not found.\n"
    if word == "enable":
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(UNITS / f"{unit.name}.service")
    elif word == "disable":
        link.unlink(missing_ok=True)
    elif word in ("start", "stop", "restart"):
        if word != "start":
            unit.stop()
        if word != "stop" and unit.process is None:
            unit.start()
            if not unit.becomes_ready():
                return 1, f"Job for {unit.name}.service failed because the control process exited with error code.\n"
    else:
        return 1, f"the stand-in for systemd does not know {word!r}\n"
    return 0, ""


def call(words):
    """Hand a command of systemctl to the manager, and exit with its answer."""
    with open(LOGS / "commands", "a") as log:
        log.write(f"{' '.join(words)}\n")
    wanted = [word.partition("=")[2].split(",") for word in words if word.startswith("--property=")]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)
        connection.sendall(json.dumps([word for word in words if not word.startswith("-")]).encode() + b"\n")
        code, text = json.loads(connection.makefile().readline())
    lines = [line for line in text.splitlines() if not wanted or line.partition("=")[0] in wanted[0]]
    (sys.stderr if code == 1 else sys.stdout).write("".join(f"{line}\n" for line in lines))
    sys.exit(code)


def main():
    """Do what the name of the program says."""
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if words == ["boot"]:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        boot()
    elif name == "timedatectl":
        noted = Path("/etc/clock-synchronised")
        sys.stdout.write(noted.read_text() if noted.exists() else "yes\n")
    elif name == "journalctl":
        options = dict(word.lstrip("-").partition("=")[::2] for word in words)
        sys.stdout.write("".join((LOGS / f"{options['unit']}.log").read_text().splitlines(keepends=True)[-int(options["lines"]) :]))
    else:
        call(words)


main()
