"""How large what users and peers hand in may be. Every limit is far above what pipelines need, and far below what breaks a reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Characters of a worker's name at most; arbitrary, and what the databases have room for.
NAME_LENGTH = 200
#: Levels of lists and dicts in a pipeline's or a job's data; Python's JSON breaks at some 900.
DATA_DEPTH = 100
#: Levels of a whole message: data lie up to ten levels below its top.
MESSAGE_DEPTH = DATA_DEPTH + 20
#: Priorities are whole numbers from -LARGEST_PRIORITY to LARGEST_PRIORITY; arbitrary.
LARGEST_PRIORITY = 1000
#: Retries of a job at most; arbitrary.
MOST_RETRIES = 1_000_000
#: Seconds of a job's time limit at most: some thirty years.
LONGEST_S = 1e9
CONTAINERS = (Mapping, list, tuple)


def is_name(value: object) -> bool:
    """Whether *value* can name a worker: printable, without spaces, not empty. Its length is judged elsewhere."""
    return isinstance(value, str) and value != "" and value.isprintable() and not any(map(str.isspace, value))


def deeper_than(limit: int, value: Any) -> bool:
    """Whether lists and dicts are nested more than *limit* levels deep in *value*; never recurses, and ends for circles too."""
    level: list[Any] = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for container in level:
            values = container.values() if isinstance(container, Mapping) else container if isinstance(container, (list, tuple)) else ()
            inner += [value for value in values if isinstance(value, CONTAINERS)]
        if not inner:
            return False
        level = list({id(value): value for value in inner}.values())  # a circle may have several ways
    return True
