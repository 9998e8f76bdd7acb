"""Draws the diagrams of docs/machines.md from the transition tables, so that they cannot differ from the code.

    .venv/bin/python scripts/draw_machines.py            writes the page
    .venv/bin/python scripts/draw_machines.py --check    ends with 1 if the page is not what the tables give

A machine is a line in `MACHINES`. Its table is a mapping ``{(state, event): state}``: states are members of an Enum, whose values say
what they mean; events are classes, whose docstrings do; None as a state is where a thing begins. A state without a way out is an end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "machines.md"

HEAD = """\
# The machines

What can happen to a thing, and what comes of it. Drawn from the transition tables by `scripts/draw_machines.py`; an event that has no
arrow in a state is illegal there: it raises and changes nothing.
"""

Table = Mapping[tuple["Enum | None", type], Enum]


class Machine(NamedTuple):
    """A section of the page: its title, where the table is, and the state in which a thing begins if the table has no None."""

    title: str
    module: str
    table: str
    initial: str | None = None


MACHINES = [
    Machine("A node", "fission.protocol.liveness", "TRANSITIONS"),
    Machine("A job", "fission.protocol.supervision", "TRANSITIONS", "PENDING"),
    Machine("A pipeline's job", "fission.protocol.dagrun", "TRANSITIONS", "WAITING"),
    Machine("The service of a node", "fission.protocol.node_lease", "TRANSITIONS", "FREE"),
]


def mermaid(table: Table, initial: Enum | None = None) -> str:
    """The table as a state diagram: one arrow for all events that lead from one state to another, in the order of the table."""
    arrows: dict[tuple[str, str], list[str]] = {}
    if initial is not None:
        arrows["[*]", initial.name] = []
    for (before, event), after in table.items():
        arrows.setdefault(("[*]" if before is None else before.name, after.name), []).append(event.__name__)
    with_way_out = {before for before, after in arrows if before != after}
    for state in _states(table):
        if state.name not in with_way_out:
            arrows[state.name, "[*]"] = []
    lines = [f"    {before} --> {after}" + (f" : {', '.join(events)}" if events else "") for (before, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines])


def section(title: str, table: Table, initial: Enum | None = None) -> str:
    """A title, the diagram, and what its words mean."""
    events = dict.fromkeys(event for _, event in table)
    return "\n".join(
        [
            f"## {title}\n",
            f"```mermaid\n{mermaid(table, initial)}\n```\n",
            *_legend("State", ((state.name, str(state.value)) for state in _states(table))),
            "",
            *_legend("Event", ((event.__name__, _first_paragraph(event)) for event in events)),
        ]
    )


def page() -> str:
    """The whole page, as it must be in docs/."""
    sections = []
    for machine in MACHINES:
        table: Any = getattr(import_module(machine.module), machine.table)
        initial = None if machine.initial is None else next(state for state in _states(table) if state.name == machine.initial)
        sections.append(section(machine.title, table, initial))
    return "\n".join([HEAD, "\n\n".join(sections), ""])


def _states(table: Table) -> list[Enum]:
    return list(dict.fromkeys(state for (before, _), after in table.items() for state in (before, after) if state is not None))


def _legend(kind: str, rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield f"| {kind} | |"
    yield "|---|---|"
    for name, text in rows:
        yield f"| {name} | {text.replace('|', chr(92) + '|')} |"


def _first_paragraph(event: type) -> str:
    return " ".join((event.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


def main(arguments: list[str]) -> int:
    """Write the page, or check it; return the exit code."""
    if arguments == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page() else 1
    if arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
