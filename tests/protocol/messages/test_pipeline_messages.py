"""The pipelines' messages: their JSON is the published one; all other input raises `RemoteProtocolError`."""

from __future__ import annotations

import contextlib
import json
from random import Random
from typing import Any

import msgspec
import pytest

from fission.errors import RemoteProtocolError
from fission.protocol.messages.directions import DIRECTIONS, codecs_of
from fission.protocol.messages.pipelines import REQUESTS
from fission.protocol.messages.pipelines.router_to_broker import KillJobs, ProcessEndNoted, PulseHeard, RouterConfiguration
from fission.protocol.messages.pipelines.router_to_client import EndsBroadcast, JobResult, PipelineEnd, PipelineEnds, RequestRefused
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeReply
from fission.protocol.messages.pipelines.router_to_pypelinin import GoodJob, JobGiven, NoJob, NoPipeline, PipelineGiven
from fission.protocol.messages.pipelines.router_to_worker import JobOrder
from fission.protocol.messages.pipelines.wire import RouterRequest, convert, decode_object, encode
from fission.protocol.messages.pipelines.worker_to_router import JobFailure
from tests.pipelines import hostile

KINDS = [kind for name in DIRECTIONS if ".pipelines." in name for codec in codecs_of(name) for kind in codec.types]
ENDS = {"answer": "ok", "number": 7, "ends": [["x", "failed", 1.5, 7, {"worker": "A", "data": {"n": 10**30}}]]}
ENDS |= {"more": {"x": {"ended utc": "u", "results": [{"job id": "x-0", "worker": "A", "value": None}]}}}
ORDER = {"id": "x-0", "worker": "A", "data": [{"n": 10**30}], "timeout": 2, "attempt": 1, "last": True}
READ: list[tuple[dict[str, Any], Any]] = [
    (hostile.ANSWERS["exchange"], ExchangeReply),
    ({"answer": "unknown pipeliner"}, ExchangeReply),
    (hostile.ANSWERS["get configuration"], RouterConfiguration),
    (hostile.ANSWERS["pulse"], PulseHeard),
    (hostile.ANSWERS["process ended"], ProcessEndNoted),
    (hostile.KILL, KillJobs),
    (ENDS, PipelineEnds),
    ({"before": 6, **{name: value for name, value in ENDS.items() if name in ("ends", "more")}}, EndsBroadcast),
    (ORDER, JobOrder),
    ({"error": "e", "traceback": "t"}, JobFailure),
]


@pytest.mark.parametrize("request_", hostile.REQUESTS, ids=lambda request: str(request["command"]))
def test_requests_keep_their_json(request_: dict[str, Any]) -> None:
    """What has its default may be left out, and means the same."""
    request = REQUESTS.read(request_)
    written = json.loads(REQUESTS.encode(request))
    assert REQUESTS.read(written) == request
    assert written == {name: value for name, value in request_.items() if name in written}
    assert {name: value for name, value in request_.items() if name not in written and value} == {}


@pytest.mark.parametrize(("fields", "kind"), READ, ids=lambda value: getattr(value, "__name__", ""))
def test_answers_keep_their_json(fields: dict[str, Any], kind: Any) -> None:
    assert json.loads(encode(convert(fields, kind))) == fields


def test_answers_of_pypelinin_have_nothing_else() -> None:
    assert [json.loads(encode(answer)) for answer in (NoJob(), NoPipeline(), GoodJob())] == [
        {"worker": None},
        {"pipeline": None},
        {"answer": "good job!"},
    ]
    assert json.loads(encode(JobGiven("w", {"a": 1}, "j"))) == {"worker": "w", "data": {"a": 1}, "job id": "j"}
    assert json.loads(encode(PipelineGiven([["graph", []]], "i"))) == {"pipeline": [["graph", []]], "pipeline id": "i"}
    assert json.loads(encode(RequestRefused("malformed", "e"))) == {"answer": "error", "kind": "malformed", "error": "e"}


def test_users_json_is_unchanged() -> None:
    data = '{"n":' + "9" * 100 + ',"text":"\\ud800\\u00e9","x":1.5}'
    request = REQUESTS.decode(f'{{"command":"add job","worker":"A","data":{data}}}'.encode())
    assert encode(request) == f'{{"command":"add job","worker":"A","data":{data}}}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(PipelineEnd("x", "finished", float("inf"), 1, None))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_class_can_be_read(kind: Any) -> None:
    """Also its annotations, which are evaluated with the first message."""
    with contextlib.suppress(RemoteProtocolError):
        convert({}, kind)
    assert [field.encode_name for field in msgspec.structs.fields(kind)] == [
        field.name.replace("_", " ") for field in msgspec.structs.fields(kind)
    ]


WRONG = [
    ({"command": "pulse", "broker": "b", "workers": [], "more": 1}, "the message has an unknown member 'more'"),
    ({"command": "pulse", "broker": "b"}, "the message has no 'workers'"),
    ({"command": "add pipelines", "pipelines": [["x", 1, 2]]}, "'pipelines[0]' must be a list of at most length 2, but has 3"),
    ({"command": "job finished", "job id": 1, "duration": True}, "'duration' must be a number, but is a boolean"),
    ({"command": "exchange", "pipeliner": "", "number": 1}, "'pipeliner' must be an id (up to 64 letters, digits, '_' and '-')"),
    ({"command": "pipelines", "limit": 2**53 + 1}, "'limit' must be an integer <= 9007199254740992"),
    ({"command": "process ended", "broker": "b", "process": "\0"}, "'process' must be at most 255 printable characters, but is '\\x00'"),
    ({"command": "hello"}, "there is no command 'hello'"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_mistakes_are_described_in_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RemoteProtocolError) as found:
        REQUESTS.read(fields)
    assert str(found.value) == message


def test_a_result_has_a_value_or_an_error() -> None:
    for fields in ({}, {"value": 1, "omitted": "too large"}):
        with pytest.raises(RemoteProtocolError, match="either 'value' or 'omitted'"):
            convert({"job id": "x-0", "worker": "A", **fields}, JobResult)


@pytest.mark.parametrize("number", [5000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_hostile_messages_raise_nothing_else(number: int) -> None:
    """And what is accepted can be written."""
    rng, accepted = Random(7), 0
    right = [*hostile.REQUESTS, *(fields for fields, _ in READ)]
    for data in hostile.hostile(rng, right, number):
        for read in (REQUESTS.decode, lambda data: convert(decode_object(data), rng.choice(READ)[1])):
            try:
                message = read(data)
            except RemoteProtocolError as error:
                str(error).encode("utf-8", "backslashreplace")
                continue
            accepted += 1
            if not isinstance(message, RouterRequest):  # a request may hold what only its reader refuses: 1e999
                with contextlib.suppress(ValueError):
                    encode(message)
    assert accepted > number // 100
