"""Words of jobs: what a job says is taken, anything else is refused with the one error that its reader expects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import RemoteProtocolError
from fission.protocol.frames import Word
from fission.protocol.words import MEMBERS, check_word

COUNTS = {
    "compute_blocks": {"0": 5},
    "inputs": {"1": {"blocks": 5, "bytes": 7}},
    "outputs": {"2": {"sent": {"0": 5}, "lost": {}, "dropped": 0, "queue": 1, "blocked_s": 0.5}},
    "malformed": 0,
    "not_shared": 0,
}
RIGHT: list[dict[str, Any]] = [
    {"say": "hello", "process": 77, "data": "tcp://10.0.0.1:77"},
    {"say": "hello", "addresses": {"data": "tcp://10.0.0.1:77"}},
    {"say": "counts", "counts": COUNTS, "doing": "RUN"},
    {"say": "replayed", "job": 3, "incarnation": 2, "pipe": 1, "blocks": 9},
    {"say": "ended", "ends": {"2": [0, 60]}, "counts": COUNTS},
    {"say": "typed", "lines": 3},
    {"say": "warning", "text": "careful", "once": None},
    *({"say": what, "generation": 0, "block": 10} for what in ("need", "store", "stable")),
    {"say": "keep", "pipe": 2, "number": 4},
    {"say": "tapped", "tap": 1, "pipe": 2},
    {"say": "something new"},
]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def newest(job: int) -> int | None:
    return {1: 0, 2: 1, 3: 5}.get(job)


@pytest.mark.parametrize("body", RIGHT, ids=lambda body: str(body["say"]))
def test_what_jobs_say_is_taken(body: dict[str, Any]) -> None:
    word = Word(3, 4, body, b"x")
    assert check_word(word, newest) is word


@pytest.mark.parametrize(("job", "incarnation"), [(1, 1), (1, 0), (2, 2), (3, 0), (3, 6), (4, 1), (4, 0)])
def test_who_is_not_there_says_nothing(job: int, incarnation: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"incarnation {incarnation} of a job {job}"):
        check_word(Word(job, incarnation, {"say": "hello"}), newest)


@given(st.sampled_from(RIGHT), st.data())
def test_a_wrong_member_is_a_protocol_error_and_nothing_else(body: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted({*body, "counts", "addresses", "process", "once"} - {"say"})))
    wrong = {**body, name: data.draw(ANY)}
    try:
        check_word(Word(3, 4, wrong), newest)
    except RemoteProtocolError:
        return
    for member, check in MEMBERS.get(body["say"], {}).items():
        assert check(wrong.get(member))


@pytest.mark.parametrize("what", sorted(MEMBERS))
def test_no_member_may_be_missing(what: str) -> None:
    with pytest.raises(RemoteProtocolError, match="has no such member"):
        check_word(Word(3, 4, {"say": what}), newest)
