"""Each known failure of a host gives one line: what is wrong, and what to do."""

from __future__ import annotations

import pytest

from fission.provision.events import HostUnreachable, TaskFailed
from fission.provision.faults import Attempt, explain

SSH = "Task failed: Failed to connect to the host via ssh: "
#: What Ansible, ssh, sudo, pip and apt report (ansible-core 2.17 and 2.19, Debian 12), the kind, and words of the line.
UNREACHABLE = [
    (f"{SSH}ssh: connect to host 10.77.0.2 port 22: Connection timed out", "host_down", ["does not answer", "switch it on", "--limit cam"]),
    (f"{SSH}ssh: connect to host 10.77.0.2 port 22: No route to host", "host_down", ["does not answer"]),
    (f"{SSH}ssh: connect to host 10.77.0.2 port 22: Connection refused", "no_ssh", ["not to ssh", "openssh-server"]),
    (f"{SSH}ssh: Could not resolve hostname cam1.local: Name or service not known", "no_name", ["name cam1.local", "ansible_host"]),
    (f"{SSH}pi@10.77.0.2: Permission denied (publickey,password).", "login_refused", ["refuses the login", "ssh-copy-id", "--ask-pass"]),
    (f"{SSH}Host key verification failed.", "host_key_changed", ["ssh-keygen -R"]),
    (f"{SSH}Timeout, server 10.77.0.2 not responding.", "host_down", ["does not answer"]),
    (f"{SSH}Shared connection to 10.77.0.2 closed.", "host_down", ["does not answer"]),
    (f"{SSH}Connection to 10.77.0.2 closed by remote host.", "host_down", ["does not answer"]),
    (f"{SSH}client_loop: send disconnect: Broken pipe", "host_down", ["does not answer"]),
    ('Task failed: Data could not be sent to remote host "10.77.0.3". Make sure this host can be reached over ssh:', "host_down", []),
    ('SSH Error: data could not be sent to remote host "10.77.0.3". Make sure this host can be reached over ssh', "host_down", []),
    ('Data could not be sent to remote host "x". Make sure it can be reached: pi@x: Permission denied (publickey).', "login_refused", []),
    (f"{SSH}No ED25519 host key is known for 10.77.0.2", "host_key_unknown", ["not known here", "by hand", "--limit cam"]),
    (f"{SSH}Bad owner or permissions on /home/me/.ssh/config", "unreachable", ["ssh to it fails", "Bad owner", "ssh -v", "--limit cam"]),
    ("Failed to create temporary directory. ... mkdir: cannot create directory: No space left on device", "disk_full", ["disk is full"]),
]
FAILED = [
    ("Missing sudo password", "sudo_password", ["asks for a password", "--ask-become-pass"]),
    ("sudo: a password is required", "sudo_password", ["asks for a password"]),
    ("pi is not in the sudoers file.", "no_sudo", ["may not use sudo", "adduser"]),
    ("/bin/sh: 1: sudo: not found", "no_sudo", ["has no sudo"]),
    ("OSError: [Errno 28] No space left on device", "disk_full", ["disk is full", "df -h"]),
    ("FISSION_HOST 3.9.2 64 aarch64 python3", "unfit_host", ["3.10 or newer, but python3 is 3.9.2", "fission_python"]),
    ("FISSION_HOST 3.11.2 32 armv7l python3", "unfit_host", ["64 bits, but has 32 (armv7l)", "64-bit image"]),
    ("FISSION_HOST none 0 none python3", "unfit_host", ["has no python3", "apt-get install python3"]),
    ("FISSION_DISK 39 300", "disk_full", ["must have 300 MB free, but has 39", "df -h", "--limit cam"]),
    (
        "Using a SSH password instead of a key is not possible because Host Key checking is enabled and sshpass does not support this.",
        "host_key_unknown",
        ["not known here", "by hand"],
    ),
    (
        "FISSION_SETTING fission_port must be a number from 1 to 65535, but is 'x'",
        "wrong_setting",
        ["fission_port must be", "hosts.yml or setting.yml", "--limit cam"],
    ),
    (
        "FISSION_FOREIGN /etc/systemd/system/fission.service",
        "foreign_file",
        ["place of /etc/systemd/system/fission.service", "on cam, move that file away", "--limit cam"],
    ),
    ("FISSION_FOLDER /srv/data fission root", "foreign_folder", ["/srv/data must belong to fission, but belongs to root", "fission_root"]),
    (
        "SSLError(SSLCertVerificationError(1, 'certificate verify failed: certificate is not yet valid')): Max retries exceeded",
        "wrong_clock",
        ["its clock", "on cam, set the clock"],
    ),
    # the words of ssh, from other programs
    ("NewConnectionError: Failed to establish a new connection: [Errno 111] Connection refused", "no_index", ["package index"]),
    ("ProtocolError('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer')): Max retries exceeded", "no_index", []),
    ("[Errno 13] Permission denied: '/opt/fission/venvs'", "unknown", ["Permission denied"]),
    ("FISSION_KEYS", "no_keys", ["no keys", "fission keys"]),
    (
        "WARNING: Retrying ... Failed to establish a new connection: [Errno -3] Temporary failure in name resolution\n"
        "ERROR: No matching distribution found for distributed>=2024.8",
        "no_index",
        ["cannot reach a package index", "--wheelhouse"],
    ),
    ("ERROR: No matching distribution found for scipy==99", "no_package", ["index has no scipy==99", "pip3_packages"]),
    ("E: Failed to fetch http://...: Temporary failure resolving", "no_apt", ["apt-get cannot install", "python3-venv"]),
    ("Could not get lock /var/lib/dpkg/lock-frontend", "apt_busy", ["installs packages", "wait"]),
    ("Could not find the requested service fission: host", "not_set_up", ["not set up", "fission provision servers --limit cam"]),
    ("Unable to start service fission: Job for fission.service failed", "service_fails", ["does not start", "provision logs --limit cam"]),
    ('Failed to find required executable "systemctl" in paths: /bin', "no_systemd", ["does not run systemd"]),
]


@pytest.mark.parametrize(("text", "kind", "words"), UNREACHABLE, ids=[kind for _, kind, _ in UNREACHABLE])
def test_an_unreachable_host(text: str, kind: str, words: list[str]) -> None:
    found = explain(HostUnreachable(host="cam", task="Log in", text=text), Attempt())
    assert found.kind == kind
    assert all(word in str(found) for word in words), found
    assert "\n" not in str(found)


@pytest.mark.parametrize(("text", "kind", "words"), FAILED, ids=[f"{kind} {text[:30]}" for text, kind, _ in FAILED])
def test_a_failed_task(text: str, kind: str, words: list[str]) -> None:
    found = explain(TaskFailed(host="cam", task="Install the packages", text=text), Attempt())
    assert found.kind == kind
    assert all(word in str(found) for word in words), found
    assert "\n" not in str(found)


def test_advice_depends_on_the_call() -> None:
    refused = HostUnreachable(host="cam", task="Log in", text=f"{SSH}pi@10.0.0.1: Permission denied (publickey,password).")
    assert "ssh refuses the password" in str(explain(refused, Attempt(asked_password=True)))
    sudo = TaskFailed(host="cam", task="Become root", text="Incorrect sudo password")
    assert "sudo refuses the password" in str(explain(sudo, Attempt(asked_sudo=True)))
    missing = TaskFailed(host="cam", task="Install the packages", text="ERROR: No matching distribution found for msgspec>=0.19 (from ...)")
    assert "the wheelhouse has no msgspec>=0.19 for" in str(explain(missing, Attempt(wheelhouse=True)))


def test_an_unknown_failure_names_task_and_first_line() -> None:
    found = explain(
        TaskFailed(host="cam", task="Rotate the logs", text="\n  Destination is odd\nmore"), Attempt("fission provision renew --limit")
    )
    assert found.kind == "unknown"
    assert str(found) == (
        "the task 'Rotate the logs' failed: Destination is odd; to see all of it: fission provision renew --limit cam --verbose"
    )
