"""What a host's failure means, and what the user should do.

Programs report failures as texts only; a new wording of one of them gives an unexplained failure, not a
wrong explanation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fission.provision.events import HostUnreachable, TaskFailed


@dataclass(frozen=True)
class Explanation:
    """A failure in words.

    Attributes:
        kind: a fixed word for programs, such as "host_down"; "unknown" if the text is not known.
        what: what is wrong.
        remedy: what to do.
    """

    kind: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@dataclass(frozen=True)
class Attempt:
    """How the user has called the command, as far as advice depends on it.

    Attributes:
        again: the command that repeats it for one host, without the host.
        asked_password: whether the user has typed an ssh password.
        asked_sudo: whether the user has typed a sudo password.
        wheelhouse: whether packages come from a wheelhouse.
        network: the network whose client's service is set up, on this machine; empty: hosts are set up.
    """

    again: str = "fission provision servers --limit"
    asked_password: bool = False
    asked_sudo: bool = False
    wheelhouse: bool = False
    network: str = ""

    def words(self, host: str) -> dict[str, str]:
        """Return what texts about a host say: its name, and the commands that repeat this one, set it up, and show its log."""
        if self.network:
            client = f"fission provision client {self.network}"
            return {"host": "this machine", "again": self.again, "set_up": client, "logs": f"{client} logs"}
        logs, set_up = f"fission provision logs --limit {host}", f"fission provision servers --limit {host}"
        return {"host": host, "again": f"{self.again} {host}", "set_up": set_up, "logs": logs}


Words = Callable[[re.Match[str], str, Attempt], tuple[str, str]]


def _login(_: re.Match[str], host: str, attempt: Attempt) -> tuple[str, str]:
    if attempt.asked_password:
        return "ssh refuses the password", f"type the one of ansible_user on {host}, or correct ansible_user in setting.yml"
    return (
        "ssh refuses the login",
        "copy your key to it with ssh-copy-id USER@ADDRESS, or type the password: --ask-pass (make servers_pw)",
    )


def _missing_sudo_password(_: re.Match[str], host: str, attempt: Attempt) -> tuple[str, str]:
    if attempt.asked_sudo:
        whose = "your own one" if attempt.network else f"the one of ansible_user on {host}"
        return "sudo refuses the password", f"type {whose}"
    return "sudo asks for a password", f"type it: --ask-become-pass{'' if attempt.network else ' (make servers asks for it)'}"


def _no_package(match: re.Match[str], _: str, attempt: Attempt) -> tuple[str, str]:
    name = match["package"].strip()
    if attempt.wheelhouse:
        return (
            f"the wheelhouse has no {name} for its Python and processor",
            "add the wheel: python3 -m pip download --only-binary=:all: --platform ... (see docs/boards.md)",
        )
    return f"the package index has no {name} for its Python and processor", "correct pip3_packages in setting.yml"


def _host(match: re.Match[str], host: str, _: Attempt) -> tuple[str, str]:
    program, version, bits = match["program"], match["version"], match["bits"]
    if version == "none":
        return f"it has no {program}", f"on {host}, run: sudo apt-get install python3 python3-venv"
    if bits != "64":
        what = f"its system must have 64 bits, but has {bits} ({match['machine']})"
        return what, "write a 64-bit image of its system to the card: packages for boards exist for 64-bit Arm only"
    what = f"Python must be 3.10 or newer, but {program} is {version}"
    return what, "upgrade its system, or set fission_python in setting.yml to a newer one"


def _fixed(what: str, remedy: str) -> Words:
    return lambda match, host, attempt: (
        what.format(**attempt.words(host), **match.groupdict()),
        remedy.format(**attempt.words(host), **match.groupdict()),
    )


_NO_ANSWER = _fixed("it does not answer", "switch it on, check its network and its ansible_host in hosts.yml; then: {again}")

#: Kind, pattern of the text, and the words; the first that matches counts.
_KNOWN: tuple[tuple[str, str, Words], ...] = (
    ("unfit_host", r"FISSION_HOST (?P<version>\S+) (?P<bits>\S+) (?P<machine>\S+) (?P<program>\S+)", _host),
    (
        "wrong_setting",
        r"FISSION_SETTING (?P<fault>[^\n]+)",
        _fixed("{fault}", "correct it in hosts.yml or setting.yml; then: {again}"),
    ),
    (
        "foreign_file",
        r"FISSION_FOREIGN (?P<path>\S+)",
        _fixed("FISSION needs the place of {path}, which it has not written", "on {host}, move that file away if it may go; then: {again}"),
    ),
    (
        "foreign_folder",
        r"FISSION_FOLDER (?P<path>\S+) (?P<user>\S+) (?P<owner>\S+)",
        _fixed(
            "the folder {path} must belong to {user}, but belongs to {owner} and has files",
            "name another fission_root in setting.yml, or change its owner if it is FISSION's; then: {again}",
        ),
    ),
    (
        "other_project",
        r"FISSION_PROJECT (?P<path>[^\n]+)",
        _fixed("the service runs the network of this name in {path}", "call this command there, or rename one of the networks"),
    ),
    ("no_keys", r"FISSION_KEYS", _fixed("there are no keys to copy", "make them on this machine: fission keys; then: {again}")),
    (
        "disk_full",
        r"FISSION_DISK (?P<free>\d+) (?P<needed>\d+)",
        _fixed("its disk must have {needed} MB free, but has {free}", "on {host}, look with df -h and make room; then: {again}"),
    ),
    (
        "disk_full",
        r"No space left on device|ENOSPC|not enough free space|[Dd]isk quota exceeded",
        _fixed("its disk is full", "on {host}, look with df -h and make room (FISSION needs 300 MB); then: {again}"),
    ),
    ("read_only", r"Read-only file system", _fixed("its file system is read-only", "mount it writable meanwhile; then: {again}")),
    (
        "host_key_changed",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed",
        _fixed("its ssh key is not the known one", "if it was installed anew, forget the old key: ssh-keygen -R ADDRESS; then: {again}"),
    ),
    (
        "host_key_unknown",
        r"Host Key checking is enabled and sshpass does not support this|No [A-Z0-9]+ host key is known",
        _fixed("its ssh key is not known here", "log in once by hand, and accept the key: ssh USER@ADDRESS; then: {again}"),
    ),
    (
        "no_name",
        r"Could not resolve hostname (?P<name>[^\s:]+)",
        _fixed("there is no address for the name {name}", "correct ansible_host in hosts.yml, or use the address"),
    ),
    (
        "no_ssh",
        r"Connection refused",
        _fixed(
            "it answers, but not to ssh", "on {host}, switch ssh on: sudo apt-get install openssh-server, or raspi-config; then: {again}"
        ),
    ),
    (
        "host_down",
        r"connect to host .* (?:Connection timed out|No route to host|Network is unreachable|Host is down)|Connection timed out|"
        r"Timeout \(\d+s\) waiting for|Connection closed by|Connection reset by|Timeout, server|Shared connection to \S+ closed|"
        r"Connection to .* closed|Broken pipe|mux_client_request_session|Failed to connect to the host via ssh: *$",
        _NO_ANSWER,
    ),
    (
        "no_sshpass",
        r"you must install the sshpass program",
        _fixed("this machine's Ansible needs the program sshpass to use a password", "sudo apt-get install sshpass, or use ssh-copy-id"),
    ),
    ("login_refused", r"Permission denied|Invalid/incorrect (?:username/)?password|Authentication failure|Too many authentication", _login),
    ("sudo_password", r"Missing sudo password|sudo: a password is required|sudo: a terminal is required", _missing_sudo_password),
    ("sudo_password", r"Incorrect sudo password|Sorry, try again", _missing_sudo_password),
    (
        "no_sudo",
        r"is not in the sudoers file|not allowed to (?:run sudo|execute)|may not run sudo",
        _fixed("ansible_user may not use sudo", "on {host}, run as root: adduser USER sudo; then: {again}"),
    ),
    (
        "no_sudo",
        r"sudo: (?:command )?not found|[Ff]ailed to find required executable \"?sudo|sudo: No such file",
        _fixed("it has no sudo", "on {host}, run as root: apt-get install sudo && adduser USER sudo; then: {again}"),
    ),
    (
        "not_set_up",
        r"Could not find the requested service fission",
        _fixed("FISSION is not set up on it", "run: {set_up}"),
    ),
    (
        "service_fails",
        r"Unable to (?:re)?start service fission",
        _fixed("the service does not start", "its log says why: {logs}"),
    ),
    (
        "no_systemd",
        r"System has not been booted with systemd|Failed to find required executable \"?systemctl|'systemctl'",
        _fixed("it does not run systemd", "use a system with systemd (Debian, Ubuntu, Raspberry Pi OS), or start fission node yourself"),
    ),
    (
        "apt_busy",
        r"Could not get lock|Unable to acquire the dpkg",
        _fixed("another program installs packages on it", "wait for it; then: {again}"),
    ),
    (
        "no_apt",
        r"Failed to update apt cache|Failed to fetch|Unable to fetch|Unable to locate package|No package matching|Could not resolve '",
        _fixed(
            "apt-get cannot install a package that is missing",
            "connect {host} to the Internet, or install it yourself: apt-get install python3-venv; then: {again}",
        ),
    ),
    (
        "wrong_clock",
        r"certificate is not yet valid|certificate has expired",
        _fixed("the package index has a certificate that its clock takes for invalid", "on {host}, set the clock: date; then: {again}"),
    ),
    (
        "no_index",
        r"NewConnectionError|Failed to establish a new connection|Temporary failure in name resolution|ReadTimeoutError|"
        r"ConnectTimeoutError|Max retries exceeded|ProxyError|NameResolutionError",
        _fixed(
            "it cannot reach a package index",
            "bring the packages along: python3 -m pip download --dest wheelhouse ...; then: {again} --wheelhouse wheelhouse",
        ),
    ),
    ("no_package", r"(?:No matching distribution found for|satisfies the requirement) (?P<package>[^\n(]+)", _no_package),
    (
        "no_user",
        r"One or more supplied key could not be found",
        _fixed("the user of the service does not exist", "correct fission_user in setting.yml"),
    ),
    # the last one: its text may have ssh's reason too
    ("host_down", r"[Dd]ata could not be sent to remote host", _NO_ANSWER),
)


#: Kinds that are ssh's. Other programs use the same words: pip says "Connection refused" of an index.
_OF_SSH = frozenset({"host_key_changed", "host_key_unknown", "no_name", "no_ssh", "host_down", "login_refused"})
_SSH_TEXT = re.compile(r"via ssh|[Ff]ailed to transfer file|Timeout \(\d+s\) waiting for|sshpass")


def explain(failure: TaskFailed | HostUnreachable, attempt: Attempt) -> Explanation:
    """Return what a failure means and what to do."""
    by_ssh = isinstance(failure, HostUnreachable) or _SSH_TEXT.search(failure.text) is not None
    for kind, pattern, words in _KNOWN:
        match = re.search(pattern, failure.text) if by_ssh or kind not in _OF_SSH else None
        if match is not None:
            return Explanation(kind, *words(match, failure.host, attempt))
    reason = next((line.strip() for line in failure.text.splitlines() if line.strip()), "no reason given")
    again = attempt.words(failure.host)["again"]
    if isinstance(failure, HostUnreachable):
        return Explanation("unreachable", f"ssh to it fails: {reason:.300}", f"try it by hand: ssh -v USER@ADDRESS; then: {again}")
    return Explanation("unknown", f"the task {failure.task!r} failed: {reason:.300}", f"to see all of it: {again} --verbose")
