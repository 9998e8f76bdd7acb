"""A change of messages or frames needs a new minor version: versions with the same first two numbers work together."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import fission
from fission.protocol.messages.codec import Codec, Message
from fission.protocol.version_rule import release_line
from scripts import wire_contract
from scripts.wire_contract import CHANGELOG, RECORD, constants_of, contract, fault, fingerprint, messages_of

RECORDED = {"line": "1.2", "fingerprint": "old"}
RELEASED, UNRELEASED = "## [Unreleased]\n\n## [1.2.0]: 2027-01-01\n", "# Changelog\n\n## [Unreleased]: 1.2.0\n"


class Wave(Message, frozen=True, tag="wave"):
    """A hand waves."""

    hands: int = 1


class LaterWave(Message, frozen=True, tag="wave"):
    """Hands wave."""

    hands: int = 1
    hats: int = 0


class SameWave(Message, frozen=True, tag="wave"):
    """Says it in other words."""

    hands: int = 1


def schema(kind: type[Message], **options: int) -> str:
    renamed: Any = msgspec.defstruct(
        "Wave",
        [(field.name, field.type, field.default) for field in msgspec.structs.fields(kind)],
        bases=(Message,),
        tag="wave",
        namespace={"__doc__": kind.__doc__},
        frozen=True,
    )
    return fingerprint(messages_of(Codec("waves", renamed, **options)))


def test_the_contract_is_the_recorded_one() -> None:
    recorded, now = json.loads(RECORD.read_text()), fingerprint(contract())
    assert not (why := fault(recorded, fission.__version__, now, CHANGELOG.read_text())), why
    assert recorded == {"line": release_line(fission.__version__), "fingerprint": now}, "run: python -m scripts.wire_contract"
    assert wire_contract.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("version", "now", "changelog", "ok"),
    [
        ("1.2.0", "old", RELEASED, True),
        ("1.2.5", "old", RELEASED, True),
        ("1.2.5", "new", RELEASED, False),
        ("1.2.0", "new", RELEASED, False),
        ("1.2.0", "new", UNRELEASED, True),
        ("1.2.5", "new", "## [Unreleased]: 1.2.5\n## [1.2.0]\n", False),
        ("1.3.0", "new", RELEASED, True),
        ("2.0.0", "new", RELEASED, True),
    ],
)
def test_when_a_change_may_be_recorded(version: str, now: str, changelog: str, ok: bool) -> None:
    why = fault(RECORDED, version, now, changelog)
    assert bool(why) is not ok
    if why:
        assert why.endswith(f"the version must be 1.3.0 (src/fission/__init__.py), but is {version}")


def test_a_new_member_changes_it_and_words_do_not() -> None:
    assert schema(Wave) != schema(LaterWave)
    assert schema(Wave) == schema(SameWave)
    assert schema(Wave) != schema(Wave, max_bytes=7)


def test_a_constant_of_the_frames_changes_it() -> None:
    import fission.protocol.frames as frames

    before = constants_of(vars(frames))
    assert before["VERSION"] == "1"
    assert before["_HEADER"] == "<BBHIIIQIQ"
    assert constants_of({**vars(frames), "VERSION": 2}) != before
    assert {name for name in contract() if "messages" not in name} >= {"fission.protocol.frames", "fission.ports.bundle.JobBundle"}


def test_another_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert wire_contract.main(["--chekc"]) == 2
    assert "scripts.wire_contract" in capsys.readouterr().err
