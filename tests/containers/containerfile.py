"""Reads a Containerfile, and finds its faults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


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
    """Return the arguments before the first stage, and the stages by name."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, lines.splitlines()):
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if word == "FROM":
            words = [each for each in rest.split() if not each.startswith("--")]
            stage = Stage(words[2] if len(words) == 3 else words[0], expand(words[0], arguments))
            stages[stage.name] = stage
        elif stage is None:
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            stage.steps.append((word, rest))
    return arguments, stages


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
                found += [f"COPY {name}: not in the context" for name in rest.split()[:-1] if not _in_context(context, name)]
    for target in targets:
        steps = [step for stage in chain(stages, target) for step in stage.steps]
        users = [rest for word, rest in steps if word == "USER"]
        if not users or users[-1] in ("root", "0"):
            found.append(f"{target} runs as root")
        if not any(word == "HEALTHCHECK" and "CMD" in rest for word, rest in steps):
            found.append(f"{target} has no HEALTHCHECK")
    return found


def _in_context(context: Path, name: str) -> bool:
    """Return whether a path is there, and .dockerignore lets it in."""
    ignored = False
    for line in (context / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            ignored = ignored and not fnmatch(name, line[1:])
        elif line and not line.startswith("#"):
            ignored = ignored or fnmatch(name, line)
    return (context / name).exists() and not ignored
