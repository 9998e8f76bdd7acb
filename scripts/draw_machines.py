"""Draws the diagrams of docs/machines.md from the transition tables, so that they cannot differ from the code.

    .venv/bin/python -m scripts.draw_machines            writes the page
    .venv/bin/python -m scripts.draw_machines --check    exits with 1 if the page differs

A machine is a line in `MACHINES`. Its table is a mapping ``{(state, event): state}``. States are members of an Enum, whose values
explain them; events are classes, whose docstrings explain them. None is the state before the first event. A state without an arrow to
another one is final.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module
from typing import Any, NamedTuple

from scripts.drawn_page import cell, first_paragraph, page_path, write_or_check

PAGE = page_path("machines.md")

HEAD = """\
# The machines

The states of nodes, jobs and services, and the events that change them. Drawn from the transition tables by `scripts/draw_machines.py`.
An event without an arrow in a state is illegal there: it raises an error and changes nothing.
"""

Table = Mapping[tuple["Enum | None", type], Enum]


class Machine(NamedTuple):
    """A section of the page: its title, module and name of the table, and the initial state if the table has no None."""

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
    """Return the table as a state diagram: one arrow for all events between two states, in the order of the table."""
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
    """Return a title, the diagram, and tables of its states and events."""
    events = dict.fromkeys(event for _, event in table)
    return "\n".join(
        [
            f"## {title}\n",
            f"```mermaid\n{mermaid(table, initial)}\n```\n",
            *_legend("State", ((state.name, str(state.value)) for state in _states(table))),
            "",
            *_legend("Event", ((event.__name__, first_paragraph(event.__doc__)) for event in events)),
        ]
    )


def page() -> str:
    """Return the whole page, as it must be in docs/."""
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
        yield f"| {name} | {cell(text)} |"


def main(arguments: list[str]) -> int:
    """Write the page, or check it; return the exit code."""
    return write_or_check(PAGE, page(), arguments, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
