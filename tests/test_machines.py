"""docs/machines.md is the output of scripts/draw_machines.py for the transition tables."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest

from scripts import draw_machines
from scripts.draw_machines import MACHINES, PAGE, Table, main, mermaid, page, section


class State(Enum):
    ASLEEP = "does nothing"
    AWAKE = "does this | that"
    GONE = "is no more"


class Call:
    """The neighbour calls,
    ``loudly``.

    More about it.
    """


class Light:
    """The sun rises."""


class Fox:
    """The fox comes."""


TABLE: Table = {
    (State.ASLEEP, Call): State.AWAKE,
    (State.ASLEEP, Light): State.AWAKE,
    (State.AWAKE, Call): State.AWAKE,
    (State.AWAKE, Fox): State.GONE,
    (State.GONE, Call): State.GONE,
}


def test_the_page_is_drawn_from_the_tables() -> None:
    redraw = "the tables have changed: .venv/bin/python -m scripts.draw_machines"
    assert PAGE.read_text(encoding="utf-8") == page(), redraw
    assert main(["--check"]) == 0


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.title)
def test_every_machine_has_a_section(machine: draw_machines.Machine) -> None:
    assert f"\n## {machine.title}\n" in page()


def test_one_arrow_for_all_events_between_two_states() -> None:
    assert mermaid(TABLE, State.ASLEEP).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> ASLEEP",
        "    ASLEEP --> AWAKE : Call, Light",
        "    AWAKE --> AWAKE : Call",
        "    AWAKE --> GONE : Fox",
        "    GONE --> GONE : Call",
        "    GONE --> [*]",
    ]


def test_a_machine_may_begin_with_an_event() -> None:
    assert mermaid({(None, Call): State.ASLEEP, (State.ASLEEP, Light): State.ASLEEP}).splitlines()[1:] == [
        "    [*] --> ASLEEP : Call",
        "    ASLEEP --> ASLEEP : Light",
        "    ASLEEP --> [*]",
    ]


def test_states_and_events_are_explained_by_their_own_words() -> None:
    text = section("A hen", TABLE)
    assert text.startswith("## A hen\n\n```mermaid\nstateDiagram-v2\n")
    assert "\n| AWAKE | does this \\| that |\n" in text
    assert "\n| Call | The neighbour calls, `loudly`. |\n| Light | The sun rises. |\n| Fox |" in text


def test_a_page_that_differs_is_found_and_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "docs" / "machines.md"
    monkeypatch.setattr(draw_machines, "PAGE", target)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    target.write_text(target.read_text().replace("EXPECTED --> UP : Pulse", "EXPECTED --> LOST : Pulse"))
    assert main(["--check"]) == 1


def test_wrong_use_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chekc"]) == 2
    assert "--check" in capsys.readouterr().err
