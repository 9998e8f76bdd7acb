"""Every message of every direction round-trips; all other input is refused."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fission.errors import RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message
from fission.protocol.messages.directions import DIRECTIONS, codecs_of
from fission.protocol.messages.job_to_client import CODEC as JOB_TO_CLIENT
from fission.protocol.messages.job_to_client import BlockRan
from tests.protocol.messages.any_messages import forged, messages

ROOT = Path(__file__).parents[3]
#: Without those of the pipelines, whose discriminators are published and have their own tests.
CODECS: list[Codec[Any]] = [codec for direction in DIRECTIONS for codec in codecs_of(direction) if type(codec) is Codec]
#: Forged messages in the long round, of all directions together.
MANY = 1_000_000

by_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.name))


@by_codec
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_encoded_messages_are_decoded(codec: Codec[Any], data: st.DataObject) -> None:
    message = data.draw(messages(codec))
    encoded = codec.encode(message)
    assert codec.decode(encoded) == message
    assert json.loads(encoded)["type"] == type(message).__struct_config__.tag


@by_codec
def test_malformed_messages_of_the_direction_are_refused(codec: Codec[Any]) -> None:
    for kind in codec.types:
        missing = [field for field in msgspec.structs.fields(kind) if field.required]
        tag = kind.__struct_config__.tag
        wrong = [{"type": tag, "no such member": 1}, {"type": f"{tag}_", "pipe": 1}, {}, [], None, 7, "x", [tag]]
        wrong += [{"type": tag}] if missing else []
        wrong += [{"type": tag, field.encode_name: {"odd": [[]]}} for field in msgspec.structs.fields(kind)] if missing else []
        for value in wrong:
            with pytest.raises(RemoteProtocolError, match=codec.name):
                codec.decode(json.dumps(value).encode())


@by_codec
def test_messages_that_are_too_large_are_refused(codec: Codec[Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="at most"):
        codec.decode(b" " * (codec.max_bytes + 1))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_message_of_a_module_is_in_its_codec(direction: str) -> None:
    """Otherwise it could be sent, and its receiver would drop it as malformed."""
    module = import_module(direction)
    tagged = {
        value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Message) and value.__module__ == direction
    }
    carried = {kind for codec in codecs_of(direction) for kind in codec.types}
    bases = {kind for kind in tagged if any(other is not kind and issubclass(other, kind) for other in tagged)}
    assert tagged - bases <= carried


def test_every_message_of_a_job_is_handled_by_the_client() -> None:
    events = (ROOT / "src/fission/client/run/job_events.py").read_text()
    handled = {name for line in re.findall(r"case (.*):\n", events) for name in re.findall(r"(\w+)\(\)", line)}
    for path in (ROOT / "src/fission/client").rglob("*.py"):
        handled |= set(re.findall(r"receivers\[(\w+)\] =", path.read_text()))
    handled.add(BlockRan.__name__)  # of a job that runs alone: `fission.testing.stage` takes it
    assert {kind.__name__ for kind in JOB_TO_CLIENT.types} == handled


def fuzz(codec: Codec[Any], encoded: list[bytes], count: int, seed: int) -> None:
    """Whatever is done to messages, they are refused by one error, or they are messages."""
    random, refused = Random(seed), 0
    for _ in range(count):
        data = forged(random.choice(encoded), random)
        try:
            message = codec.decode(data)
        except RemoteProtocolError:
            refused += 1
        else:
            assert type(message) in codec.types
            assert codec.decode(codec.encode(message)) == message
    assert refused >= count // 3


def examples(codec: Codec[Any]) -> list[bytes]:
    """Encoded messages: some of each class."""
    found: list[bytes] = []

    @settings(max_examples=60, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(messages(codec))
    def collect(message: Any) -> None:
        found.append(codec.encode(message))

    collect()
    return found


@by_codec
def test_forged_messages(codec: Codec[Any]) -> None:
    fuzz(codec, examples(codec), 3000, 1)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@by_codec
def test_a_million_forged_messages(codec: Codec[Any]) -> None:
    fuzz(codec, examples(codec), MANY // len(CODECS) + 1, 2)
