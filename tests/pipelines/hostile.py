"""Hostile messages: random bytes, valid messages with changed bytes or with nasty parts."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**400, -(2**70), 1.5, 1e308, -0.0,
    "", "x", "\0", "\ud800", "\udfff x", "A" * 300, "é" * 300, "../../etc", "'; drop table fission_pipelines; --", "%s%n", "\x1b[2J",
    "x-0", "x-" + "9" * 40, "x-\u0663", "NaN", "running",
    [], [[]], {}, {"": None}, [None] * 50, {"jobs": []}, [[0, 0]], [["x", 0, 1]],
]  # fmt: skip
TEXTS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 5000,
    '{"a": 1, "a": 2}',
    "[" * 90 + "]" * 90,
    "[" * 962 + "]" * 962,
    "[" * 5000,
]
PIPELINE = {
    "jobs": [{"worker_name": "A", "data": {"x": [1]}, "retries": 1, "timeout": 2.5}, {"worker_name": "B"}],
    "graph": [[0, 1], [1, None]],
}
PIPELINE |= {"data": {"document": "d"}, "priority": 1}
REQUESTS: list[dict[str, Any]] = [
    {"command": "get configuration"},
    {"command": "status"},
    {"command": "counts"},
    {"command": "add pipeline", "pipeline id": "x", "pipeline": PIPELINE},
    {"command": "add pipelines", "pipelines": [["x", PIPELINE], ["y", PIPELINE]]},
    {"command": "pipelines", "states": ["running", "failed"], "limit": 10, "before": 3},
    {"command": "pipeline", "pipeline id": "x"},
    {"command": "retry", "pipeline id": "x"},
    {"command": "retry failed", "before": 0},
    {"command": "cancel", "pipeline id": "x"},
    {"command": "ended since", "number": 0},
    {"command": "pulse", "broker": "b", "workers": ["A", "B"], "processes": ["tcp://w1"], "leave": False},
    {"command": "process ended", "broker": "b", "process": "tcp://w1", "dead": True, "job": "x-0", "attempt": 1, "error": "e", "node": "n"},
    {"command": "add job", "worker": "A", "data": {"x": [1]}, "retries": 1, "timeout": 2.5, "priority": 1},
    {"command": "add job", "worker": "spam", "data": "eggs"},
    {"command": "get job", "workers": ["spam"]},
    {"command": "get job", "workers": ["spam", "A", "spam", "A"]},
    {"command": "job finished", "job id": "x-0", "duration": 0.1},
    {"command": "job failed", "job id": "x-0", "duration": 0.1, "message": "m"},
    {"command": "add pipeline", "pipeline": [["graph", [[[["worker_name", "A"], ["data", [["n", 1]]]], None]]], ["data", [["n", 1]]]]},
    {"command": "get pipeline"},
    {"command": "pipeline finished", "pipeline id": "x", "duration": 0.1},
    {
        "command": "exchange",
        "pipeliner": "p",
        "number": 1,
        "room": 10,
        "run": [["x", 0, 1]],
        "ended": [["x", "finished", -1, ""]],
        "leave": False,
    },
]
PLAN = {"id": "x", "after": [[], [0]], "retries": [1, 0], "known": {"0": [1, False, False, 0, "e"], "1": [0, False, False, 2, ""]}}
PLAN |= {"attempts before": 3}
ANSWERS: dict[str, dict[str, Any]] = {
    "exchange": {
        "answer": "ok",
        "number": 1,
        "pipelines": [PLAN, {**PLAN, "id": "y"}],
        "events": [["x", 0, 1, "finished", "", False], ["x", 1, 1, "raised", "e", True], ["y", 0, 1, "lost", "", False]],
        "cancelled": ["y"],
        "processes": 2,
    },
    "get configuration": {
        "store": {"monitoring": "m.jsonl"},
        "monitoring interval": 60,
        "fission": {"router": "r", "scheduler port": 5},
    },
    "pulse": {"answer": "ok", "fission": {"router": "r", "scheduler port": 5}},
    "process ended": {"answer": "ok", "its job": True},
}
KILL = {"jobs": ["x-0", "y-1"]}


def hostile(rng: Random, right: Sequence[dict[str, Any]], number: int) -> Iterator[bytes]:
    """Yield this many hostile messages, made from the valid ones."""
    for _ in range(number):
        kind = rng.random()
        if kind < 0.08:
            yield rng.randbytes(rng.choice([0, 1, 5, 100, 3000]))
        elif kind < 0.25:
            yield _bytes_changed(rng, json.dumps(rng.choice(right)).encode())
        else:
            yield _parts_changed(rng, rng.choice(right))


def _bytes_changed(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                del changed[at:]
            case 1:
                changed[at : at + 1] = rng.randbytes(1)
            case 2:
                changed[at:at] = rng.choice([b"[", b"{", b'"', b"\\", b",", b"\0", b"\xff", b"\\ud800"])
            case _:
                changed[at : at + 3] = b""
    return bytes(changed)


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from _places(one, (*way, name))


def _parts_changed(rng: Random, right: dict[str, Any]) -> bytes:
    message, texts = copy.deepcopy(right), []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        ways = [way for way in _places(message) if way != ("command",) or rng.random() < 0.1]
        if not ways:
            break
        way = rng.choice(ways)
        holder: Any = message
        for step in way[:-1]:
            holder = holder[step]
        choice = rng.random()
        if choice < 0.1:
            del holder[way[-1]]
        elif choice < 0.2:
            depth = rng.randint(60, 1100)
            texts.append(rng.choice([*TEXTS, "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth]))
            holder[way[-1]] = f"@@{len(texts) - 1}@@"
        elif choice < 0.3 and isinstance(holder, list):
            holder += [copy.deepcopy(holder[way[-1]])] * rng.choice([1, 40])
        elif choice < 0.4 and isinstance(holder, dict):
            holder[str(rng.choice(NASTY))] = copy.deepcopy(rng.choice(NASTY))  # a copy, or it would grow with the messages
        else:
            holder[way[-1]] = copy.deepcopy(rng.choice(NASTY))
    data = json.dumps(message)
    for number, text in enumerate(texts):
        data = data.replace(f'"@@{number}@@"', text)
    return data.encode()
