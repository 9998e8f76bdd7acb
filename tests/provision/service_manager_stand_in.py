"""A stand-in for systemd, where systemd cannot run: the first process of a board in tests/provision/boards.py.

Installed on the board as /usr/bin/systemctl, journalctl and timedatectl, and called by these names; called with the word ``boot``, it
is the manager. It mounts what fstab lists in memory, starts the board's sshd and the units that are enabled, and runs units of
Type=notify with these settings; all others are for the real systemd, and `systemd-analyze` checks them:

- User, WorkingDirectory, RuntimeDirectory, Environment, ExecStart;
- Restart (always, on-failure), RestartSec, SuccessExitStatus, RestartPreventExitStatus;
- WatchdogSec, from READY=1 on. systemd sends SIGABRT first; here the process gets SIGKILL at once;
- KillMode (control-group, mixed) and TimeoutStopSec. The processes of a unit are those whose environment has its INVOCATION_ID, in
  place of a control group. None of them outlives the unit's main process.

What a unit prints goes to /var/log/units/NAME.log. Every command is recorded in /var/log/units/commands.
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
import uuid
from pathlib import Path

SOCKET = "/run/service-manager.sock"
UNITS = Path("/etc/systemd/system")
LOGS = Path("/var/log/units")
START_S = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: The defaults of systemd for the settings above.
DEFAULTS = {"User": "root", "Restart": "no", "RestartSec": "0.1", "KillMode": "control-group", "TimeoutStopSec": "90", "WatchdogSec": "0"}
#: Signals that end a service cleanly, as exit code 0 does.
CLEAN = {-signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE}

#: Processes that this one has started, and waits for by itself.
OWN = set()


def settings(name):
    """Return the settings of a unit file; a setting that occurs several times has its values joined."""
    found = dict(DEFAULTS)
    for line in (UNITS / f"{name}.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found[key] = f"{found[key]} {value}" if key in found and key not in DEFAULTS else value
    return found


class Unit:
    """One unit: its process and its state."""

    def __init__(self, name):
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.setblocking(False)
        self.notices.bind(f"/run/notify-{name}")
        os.chmod(f"/run/notify-{name}", 0o666)
        self.name, self.process, self.values, self.invocation = name, None, dict(DEFAULTS), ""
        self.ready, self.failed, self.hung, self.text = False, False, False, ""
        self.restarts, self.since, self.seen, self.again = 0, 0.0, 0.0, None

    def start(self):
        if self.process is not None:
            return
        self.values = values = settings(self.name)
        user = pwd.getpwnam(values["User"])
        self.invocation = uuid.uuid4().hex
        env = {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8", "NOTIFY_SOCKET": f"/run/notify-{self.name}"}
        env |= {"INVOCATION_ID": self.invocation, "WATCHDOG_USEC": str(int(float(values["WatchdogSec"]) * 1e6))}
        env.update(word.partition("=")[::2] for word in shlex.split(values.get("Environment", "")))
        if folder := values.get("RuntimeDirectory"):
            env["RUNTIME_DIRECTORY"] = f"/run/{folder}"
            os.makedirs(env["RUNTIME_DIRECTORY"], int(values.get("RuntimeDirectoryMode", "755"), 8), exist_ok=True)
            shutil.chown(env["RUNTIME_DIRECTORY"], user.pw_uid, user.pw_gid)
        self._hear()  # what is left of the last process
        self.ready, self.failed, self.hung, self.text, self.since, self.again = False, False, False, "", time.time(), None
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
                OWN.add(self.process.pid)
            except OSError as why:
                log.write(f"{self.name}: {why}\n".encode())
                self._end(203)

    def becomes_ready(self):
        """Wait until the unit reports that it is ready; return False if it ends before that."""
        deadline = time.monotonic() + START_S
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            select.select([self.notices], [], [], 0.05)
            reap()
            self._hear()
            if self.ready:
                return True
        return False

    def stop(self):
        self.again = None
        if self.process is None:
            return
        if self.values["KillMode"] == "control-group":
            self._kill(signal.SIGTERM)
        else:
            self.process.terminate()
        deadline = time.monotonic() + float(self.values["TimeoutStopSec"])
        while self.process.poll() is None and time.monotonic() < deadline:
            reap()
            time.sleep(0.02)
        self._end(None)

    def look(self):
        """Hear what the unit reports, end it if it hangs, and restart it as its settings say."""
        self._hear()
        limit = float(self.values["WatchdogSec"])
        if self.process is not None and self.ready and limit and time.monotonic() > self.seen + limit:
            self.hung = True
            self.process.kill()
            self.process.wait()
        if self.process is not None and self.process.poll() is not None:
            self._end(self.process.returncode)
        if self.again is not None and time.monotonic() >= self.again:
            self.restarts += 1
            self.start()

    def show(self):
        there = (UNITS / f"{self.name}.service").exists()
        state = "active" if self.process and self.ready else "activating" if self.process or self.again else "inactive"
        state = "failed" if self.failed and state == "inactive" else state
        since = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since)) if state == "active" else ""
        return {
            "Id": f"{self.name}.service",
            "LoadState": "loaded" if there else "not-found",
            "ActiveState": state,
            "SubState": {"active": "running", "activating": "start" if self.process else "auto-restart"}.get(state, "dead"),
            "NRestarts": str(self.restarts),
            "ActiveEnterTimestamp": since,
            "MainPID": str(self.process.pid if self.process else 0),
            "StatusText": self.text,
        }

    def _hear(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self.notices.recv(4096).decode().splitlines():
                    key, _, value = line.partition("=")
                    self.ready = self.ready or key == "READY"
                    self.text = value if key == "STATUS" else self.text
                    self.seen = time.monotonic()

    def _end(self, code):
        """End what is left of the unit, and decide what follows. ``code``: exit code, negative for a signal; None: it was stopped."""
        self._kill(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            OWN.discard(self.process.pid)
        self.process = None
        if folder := self.values.get("RuntimeDirectory"):
            shutil.rmtree(f"/run/{folder}", ignore_errors=True)
        if code is None:
            return
        clean = not self.hung and (code in CLEAN or code in {0, *map(int, self.values.get("SuccessExitStatus", "").split())})
        prevented = code in set(map(int, self.values.get("RestartPreventExitStatus", "").split()))
        self.failed = not clean
        if not prevented and (self.values["Restart"] == "always" or (self.values["Restart"] == "on-failure" and not clean)):
            self.again = time.monotonic() + float(self.values["RestartSec"])

    def _kill(self, number):
        """Send a signal to all processes of the unit; with SIGKILL, until there is none."""
        mark = f"INVOCATION_ID={self.invocation}\0".encode()
        while True:
            found = [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if mark in environment(pid)]
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number != signal.SIGKILL or not found:
                return
            time.sleep(0.01)


def environment(pid):
    """Return the environment of a process; empty: it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


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
    for link in (UNITS / "multi-user.target.wants").glob("*.service"):
        units[link.stem] = Unit(link.stem)
        units[link.stem].start()
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/board"], stderr=open(LOGS / "sshd.log", "ab"))  # noqa: SIM115
    OWN.add(sshd.pid)
    while True:
        ready, _, _ = select.select([server, *(unit.notices for unit in units.values())], [], [], 0.1)
        for unit in units.values():
            unit.look()
        reap()
        if server not in ready:
            continue
        connection, _ = server.accept()
        with connection:
            words = json.loads(connection.makefile().readline())
            _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            command, *names = [word for word in words if not word.startswith("-")]
            name = names[0].removesuffix(".service") if names else ""
            if name not in units:
                units[name] = Unit(name)
            allowed = user == 0 or command in ("show", "is-active", "is-enabled")

            def reply(code, text="", connection=connection):
                connection.sendall(json.dumps([code, text]).encode() + b"\n")

            if not allowed:
                reply(1, "Interactive authentication required.\n")
            elif "--no-block" in words and command in ("start", "stop", "restart") and units[name].show()["LoadState"] == "loaded":
                reply(0)
                answer(command, units[name], waits=False)
            else:
                reply(*answer(command, units[name]))


def reap():
    """Collect the orphans that have ended, which this process has adopted."""
    for pid in map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()):
        if pid not in OWN:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def answer(word, unit, waits=True):
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
            if waits and not unit.becomes_ready():
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
        connection.sendall(json.dumps(words).encode() + b"\n")
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
