"""The Containerfile and the compose file: what a builder would refuse, and what a reviewer would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.containerfile import NotUnderstood, faults, in_context, read, settings

ROOT = Path(__file__).parent.parent.parent
CONTAINERFILE = ROOT / "containers" / "Containerfile"
COMPOSE = ROOT / "containers" / "compose.yml"
TARGETS = ("node", "client")
KEYS = {"ca.pem", "check", "curve.public", "curve.secret", "node.key", "node.pem", "pulse.key"}


def test_it_has_no_faults() -> None:
    assert faults(CONTAINERFILE.read_text(), TARGETS, ROOT) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("USER ${UID}", "USER root", "node runs as root"),
        ("USER ${UID}\n", "", "client runs as root"),
        ("ARG PYTHON=3.13.7-slim-bookworm", "ARG PYTHON=latest", "docker.io/library/python:latest is not pinned"),
        ("ARG PYTHON=3.13.7-slim-bookworm", "ARG PYTHON=3-slim", "docker.io/library/python:3-slim is not pinned"),
        ("COPY src src", "ADD https://example.org/src.tar src", "ADD https://example.org/src.tar src: use COPY"),
        ("COPY src src", "COPY sources src", "COPY sources: not in the context"),
        ("COPY src src", "COPY tests src", "COPY tests: not in the context"),  # .dockerignore keeps it out
        ('--interval=30s --timeout=10s --start-period=60s CMD ["fission", "node", "--healthcheck"]', "NONE", "node has no HEALTHCHECK"),
    ],
)
def test_a_fault_is_found(old: str, new: str, fault: str) -> None:
    text = CONTAINERFILE.read_text()
    assert old in text
    assert fault in faults(text.replace(old, new), TARGETS, ROOT)


@pytest.mark.parametrize(
    "line",
    [
        'SHELL ["bash", "-c"]',
        "ONBUILD RUN true",
        "STOPSIGNAL SIGKILL",
        "RUN --mount=type=cache,target=/root/.cache true",
        'RUN ["true"]',
        "RUN <<EOF",
        "COPY --chown=fission src src",
        "CMD fission node",
        'CMD ["fission", 1]',
        "CMD",
        "ENTRYPOINT exec fission node",
        'HEALTHCHECK --retries=3 CMD ["true"]',
        "HEALTHCHECK CMD true",
        "ARG VERSION",
        "ENV VERSION 1",
        'VOLUME ["/project"]',
        "run true",
        "FROM scratch",
        "FROM --platform=linux/arm64 base AS other",
        "FROM base AS other extra",
    ],
)
def test_a_line_that_is_not_understood_is_an_error(line: str) -> None:
    """A reader that passed over it would let tests pass for another image than a builder makes."""
    with pytest.raises(NotUnderstood):
        read(f"{CONTAINERFILE.read_text()}{line}\n")


@pytest.mark.parametrize("text", ["# syntax=docker/dockerfile:1\nFROM base AS other\n", "RUN true\nFROM base AS other\n"])
def test_what_comes_before_the_first_stage(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read(text)


def test_what_is_read() -> None:
    text = 'ARG TAG="1 2"\nFROM a/b:$TAG AS one\n# a note\nRUN first \\\n  # within\n  && second\nENV A=b C="d e"\nCMD ["x"]\nCMD ["y"]\n'
    arguments, stages = read(text)
    assert arguments == {"TAG": "1 2"}
    assert (stages["one"].base, stages["one"].last("CMD")) == ("a/b:1 2", '["y"]')
    assert stages["one"].last("RUN").split() == ["first", "&&", "second"]
    assert settings(stages["one"].last("ENV")) == {"A": "b", "C": "d e"}


@pytest.mark.parametrize(
    ("name", "admitted"),
    [("src/one.py", True), ("src/deep/one.py", True), ("notes.md", False), ("src/__pycache__/one.pyc", False), ("src/none.py", False)],
)
def test_what_a_builder_sees(tmp_path: Path, name: str, admitted: bool) -> None:
    """The last line of .dockerignore that fits decides."""
    (tmp_path / ".dockerignore").write_text("# all but src\n*\n!src\n**/__pycache__\n")
    for path in ("src/one.py", "src/deep/one.py", "notes.md", "src/__pycache__/one.pyc"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert in_context(tmp_path, name) is admitted


def hadolint(text: str) -> list[str]:
    program = Path(sys.executable).parent / "hadolint"
    words = [str(program), "--format", "json", "--no-color", "-"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=50, check=False)
    return [found["code"] for found in json.loads(done.stdout)]


def test_hadolint_accepts_it() -> None:
    text = CONTAINERFILE.read_text()
    assert hadolint(text) == []
    assert "DL3020" in hadolint(text.replace("COPY src src", "ADD src src"))
    assert "DL3002" in hadolint(text.replace("USER ${UID}", "USER root"))


def compose_faults(text: str) -> list[str]:
    """Return what is wrong with a compose file for these images."""
    found: list[str] = []
    whole: dict[str, Any] = yaml.safe_load(text)
    services = whole["services"]
    _, stages = read(CONTAINERFILE.read_text())
    for name in whole.keys() - {"name", "services", "networks", "volumes", "secrets"}:
        found += [] if name.startswith("x-") else [f"{name}: unknown"]
    for name, service in services.items():
        allowed = "build command environment volumes networks init restart shm_size stop_grace_period cap_drop security_opt secrets"
        found += [f"{name}: unknown: {key}" for key in service.keys() - set(allowed.split())]
        build = service["build"]
        if not (COMPOSE.parent / build["context"] / build["dockerfile"]).is_file() or build["target"] not in stages:
            found.append(f"{name}: nothing to build")
            continue
        if build["args"].keys() - {rest.partition("=")[0] for word, rest in stages["base"].steps if word == "ARG"}:
            found.append(f"{name}: unknown build arguments")
        if set(service.get("secrets", ())) != KEYS or KEYS - whole["secrets"].keys():
            found.append(f"{name}: the keys are not complete")
        if service.get("cap_drop") != ["ALL"] or not service.get("init"):
            found.append(f"{name}: needs cap_drop and init")
        for volume in service.get("volumes", ()):
            source, _, target = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).partition(":")
            if target not in [rest for word, rest in stages[build["target"]].steps if word == "VOLUME"]:
                found.append(f"{name}: {target} is not a volume of the image")
            if not source.startswith((".", "/")) and source not in whole["volumes"]:
                found.append(f"{name}: the volume {source} is not declared")
    addresses = {name: network["ipv4_address"] for name, service in services.items() for network in service["networks"].values()}
    if len(set(addresses.values())) != len(services):
        found.append("two services have one address")
    for name, service in services.items():
        command = service.get("command", ())
        if command and command[command.index("--client") + 1] != addresses["client"]:
            found.append(f"{name}: calls another client")
    if stages["node"].last("CMD") != json.dumps(["--client", addresses["client"]]):
        found.append("the image of a node calls another client")
    return found


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("target: node", "target: nodes", "node1: nothing to build"),
        ("ipv4_address: 172.28.0.11", "ipv4_address: 172.28.0.12", "two services have one address"),
        ("ipv4_address: 172.28.0.2\n", "ipv4_address: 172.28.0.3\n", "node1: calls another client"),
        ("- node1:/srv/fission", "- node3:/srv/fission", "node1: the volume node3 is not declared"),
        ("- node1:/srv/fission", "- node1:/data", "node1: /data is not a volume of the image"),
        ("pulse.key]", "]", "client: the keys are not complete"),
        ("stop_grace_period", "stop_grace", "client: unknown: stop_grace"),
        ("UID: ${UID", "USERID: ${UID", "client: unknown build arguments"),
    ],
)
def test_the_compose_file(old: str, new: str, fault: str | None) -> None:
    text = COMPOSE.read_text()
    assert old in text
    found = compose_faults(text.replace(old, new, 1))
    assert found == [] if fault is None else fault in found, found
