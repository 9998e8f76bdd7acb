"""docs/messages.md is what scripts/draw_messages.py draws from the classes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from fission.protocol.messages.directions import DIRECTIONS, codecs_of
from scripts import draw_messages
from scripts.draw_messages import PAGE, main, members, page, title


def test_the_page_is_drawn_from_the_classes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "the messages have changed: .venv/bin/python -m scripts.draw_messages"
    assert main(["--check"]) == 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_message_and_every_field_is_explained(direction: str) -> None:
    assert codecs_of(direction)
    for kind in (kind for codec in codecs_of(direction) for kind in codec.types):
        assert kind.__struct_config__.frozen
        assert f"\n| {title(kind)} | " in page()
        assert list(members(kind)) == [field.name for field in msgspec.structs.fields(kind)], kind
        assert all(members(kind).values()), kind


def test_types_and_values_are_those_of_json() -> None:
    """The page has no word of Python or msgspec, and shows a member that is always null as such."""
    assert [line for line in page().splitlines() if re.search(r"\b(None|True|False|UNSET|msgspec|Annotated)\b", line)] == []
    assert "| `worker`: always `null` |" in page()


def test_a_page_that_differs_is_found_and_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "docs" / "messages.md"
    monkeypatch.setattr(draw_messages, "PAGE", target)
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    target.write_text(target.read_text().replace("end_of_input", "input_over"))
    assert main(["--check"]) == 1


def test_wrong_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chekc"]) == 2
    assert "--check" in capsys.readouterr().err
