"""Reads a Containerfile, and finds its faults.

What the reader does not understand is an error: a test that passes over a line would say nothing about the image.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
#: Instructions within a stage that are understood, and the flags of each. ADD is understood as a fault.
KNOWN: dict[str, frozenset[str]] = {
    "ADD": frozenset(),
    "ARG": frozenset(),
    "CMD": frozenset(),
    "COPY": frozenset({"from"}),
    "ENTRYPOINT": frozenset(),
    "ENV": frozenset(),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period"}),
    "RUN": frozenset(),
    "USER": frozenset(),
    "VOLUME": frozenset(),
    "WORKDIR": frozenset(),
}


class NotUnderstood(Exception):
    """A line is none that the reader understands."""


@dataclass
class Stage:
    """One stage.

    Attributes:
        name: its name.
        base: the image or the stage that it is built from.
        steps: its instructions: word in capitals, and the rest of the line.
    """

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, word: str) -> str:
        """Return the last instruction with this word; empty: none."""
        return next((rest for name, rest in reversed(self.steps) if name == word), "")


def read(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Return the arguments before the first stage, and the stages by name.

    Raises:
        NotUnderstood: a line has another instruction, flag or form than those that tests can execute.
    """
    if found := re.match(r"#\s*(syntax|escape|check)\s*=", text):
        raise NotUnderstood(f"directive: {found[0]}")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, lines.splitlines()):
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "FROM":
            found = re.fullmatch(r"(?:--platform=\$BUILDPLATFORM )?(?P<base>[^\s-]\S*) AS (?P<name>[a-z]+)", rest)
            if found is None:
                raise NotUnderstood(line)
            stage = Stage(found["name"], expand(found["base"], arguments))
            stages[stage.name] = stage
        elif stage is None:
            if word != "ARG":
                raise NotUnderstood(line)
            arguments.update(argument(rest))
        else:
            _check(word, rest)
            stage.steps.append((word, rest))
    return arguments, stages


def _check(word: str, rest: str) -> None:
    """Raise `NotUnderstood` for an instruction that a test cannot execute."""
    if word not in KNOWN or not rest or "<<" in rest:
        raise NotUnderstood(f"{word} {rest}")
    flags, rest = flags_of(rest)
    if flags.keys() - KNOWN[word]:
        raise NotUnderstood(f"{word}: {sorted(flags.keys() - KNOWN[word])}")
    if word in ("CMD", "ENTRYPOINT"):
        words_of(rest)
    elif word == "HEALTHCHECK" and rest != "NONE":
        if not rest.startswith("CMD "):
            raise NotUnderstood(f"{word} {rest}")
        words_of(rest.removeprefix("CMD "))
    elif word == "ARG":
        argument(rest)
    elif word == "ENV":
        settings(rest)
    elif rest.startswith("["):
        raise NotUnderstood(f"{word} {rest}")


def flags_of(rest: str) -> tuple[dict[str, str], str]:
    """Cut the flags off an instruction."""
    flags = {}
    while found := re.match(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)", rest):
        flags[found[1]] = found[2] or ""
        rest = rest[found.end() :]
    return flags, rest


def words_of(rest: str) -> list[str]:
    """Return the words of a CMD or ENTRYPOINT, which must be a JSON list: a shell of its own does not pass signals on.

    Raises:
        NotUnderstood: it is none.
    """
    try:
        words = json.loads(rest)
    except json.JSONDecodeError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise NotUnderstood(f"not a JSON list of words: {rest}")
    return words


def argument(rest: str) -> dict[str, str]:
    """Return an argument of the build and its default."""
    found = re.fullmatch(r'(\w+)=(?:"([^"]*)"|([^\s"]*))', rest)
    if found is None:
        raise NotUnderstood(f"ARG {rest}: must be NAME=DEFAULT")
    return {found[1]: found[2] or found[3] or ""}


def settings(rest: str) -> dict[str, str]:
    """Return the variables of an ENV."""
    pairs = [word.partition("=") for word in shlex.split(rest)]
    if not all(equals and re.fullmatch(r"\w+", name) for name, equals, _ in pairs):
        raise NotUnderstood(f"ENV {rest}: must be NAME=VALUE ...")
    return {name: value for name, _, value in pairs}


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $NAME and ${NAME}."""
    return _REFERENCE.sub(lambda found: values.get(found[1] or found[2], found[0]), text)


def chain(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """Return the stages that the target is built from, itself last."""
    found = [stages[target]]
    while found[0].base in stages:
        found.insert(0, stages[found[0].base])
    return found


def faults(text: str, targets: Sequence[str], context: Path) -> list[str]:
    """Return what is wrong with a Containerfile."""
    _, stages = read(text)
    found = []
    for stage in stages.values():
        if stage.base not in stages and not re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+\.\d+(-[a-z0-9.-]+)?$", stage.base):
            found.append(f"{stage.base} is not pinned")
        for word, rest in stage.steps:
            if word == "ADD":
                found.append(f"ADD {rest}: use COPY")
            if word == "COPY" and "--from=" not in rest:
                found += [f"COPY {name}: not in the context" for name in rest.split()[:-1] if not in_context(context, name)]
    for target in targets:
        steps = [step for stage in chain(stages, target) for step in stage.steps]
        users = [rest for word, rest in steps if word == "USER"]
        if not users or users[-1] in ("root", "0"):
            found.append(f"{target} runs as root")
        if not any(word == "HEALTHCHECK" and "CMD" in rest for word, rest in steps):
            found.append(f"{target} has no HEALTHCHECK")
    return found


def in_context(context: Path, name: str) -> bool:
    """Return whether a path is there, and .dockerignore lets it in: the last line that fits it, or a folder above it, decides."""
    path = PurePosixPath(name)
    ignored = False
    for line in (context / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#") and any(_fits(pattern, each) for each in (path, *path.parents)):
            ignored = not line.startswith("!")
    return (context / name).exists() and not ignored


def _fits(pattern: str, path: PurePosixPath) -> bool:
    parts = pattern.removeprefix("**/").split("/")
    of_path = path.parts[-len(parts) :] if pattern.startswith("**/") else path.parts
    return len(parts) == len(of_path) and all(map(fnmatchcase, of_path, parts))
