"""Words that are not plain technical English (`scripts/words.py`): none in clean folders.

Elsewhere their number must not grow.
"""

from __future__ import annotations

import json

import pytest

from scripts.words import LEFT, WORDS, count, in_text, lowered, uses

NUMBERS: dict[str, int] = json.loads(LEFT.read_text(encoding="utf-8"))


def test_no_place_has_more_of_them_than_is_listed() -> None:
    found = uses()
    grown = {path: number for path, number in count(NUMBERS, found).items() if number > NUMBERS.get(path, 0)}
    listed = [f"  {use.path}:{use.line}: {use.word!r}: write {use.instead}" for use in found if use.path.startswith(tuple(grown))]
    assert not grown, f"more than tests/words_left.json allows: {grown}\n" + "\n".join(listed)


def test_a_listed_number_only_shrinks_and_a_clean_folder_stays_clean() -> None:
    found = list(in_text("told", "src/fission/core/a.py"))
    assert lowered({"src": 5, "docs": 0}, found)["src"] == 1
    assert lowered({"src": 0, "docs": 0}, found)["src"] == 0
    assert lowered({"src/fission": 5}, found)["src/fission/durable"] == 0
    assert "src/fission/core" not in lowered({"src/fission": 5}, found)
    assert count({"src": 5, "src/fission": 1, "docs": 0}, found) == {"src": 0, "src/fission": 1, "docs": 0}
    assert count({"docs": 0}, found) == {"docs": 0, "src/fission/core/a.py": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class HatchedNest: pass", ["Hatched", "Nest"]),
        ("self._zygote_pid = 1", ["zygote"]),
        ("the client is Told of it", ["Told"]),
        ("it goes on as it came", ["goes on", "as it came"]),
        ("this is no pipe; there is no pipe; it is no longer a pipe", ["is no"]),
        ("its lifetime, a lifecycle, honest, instead, nearest, the seating", []),
    ],
)
def test_words_are_found_in_names_and_phrases(text: str, words: list[str]) -> None:
    assert [use.word for use in in_text(text)] == words


def test_a_word_in_the_name_of_a_file_is_found() -> None:
    assert [(use.line, use.word) for use in in_text("", "src/zygote.py")] == [(0, "zygote")]


def test_every_word_has_a_replacement() -> None:
    assert all(instead for instead in WORDS.values())
