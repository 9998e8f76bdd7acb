"""Limits on the input of users and peers.

Each is far above what pipelines need, and far below what breaks a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Maximum length of a worker's name in characters. Arbitrary; the database columns have this size.
NAME_LENGTH = 200
#: Maximum number of nested lists and dicts in the data of a pipeline or job; Python's JSON breaks
#: at about 900.
DATA_DEPTH = 100
#: The same limit for a whole message: its data begin up to ten levels below the top.
MESSAGE_DEPTH = DATA_DEPTH + 20
#: Priorities are integers from -LARGEST_PRIORITY to LARGEST_PRIORITY. Arbitrary.
LARGEST_PRIORITY = 1000
#: Maximum number of retries of a job. Arbitrary.
MOST_RETRIES = 1_000_000
#: Maximum timeout of a job in seconds: about thirty years.
LONGEST_S = 1e9
CONTAINERS = (Mapping, list, tuple)


def is_name(value: object) -> bool:
    """Return whether *value* can name a worker: printable, without spaces, not empty.

    Its length is not checked.
    """
    return isinstance(value, str) and value != "" and value.isprintable() and not any(map(str.isspace, value))


def deeper_than(limit: int, value: Any) -> bool:
    """Return whether *value* has more than *limit* levels of lists and dicts.

    It never recurses, and terminates for cycles, too.
    """
    level: list[Any] = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for container in level:
            values = container.values() if isinstance(container, Mapping) else container if isinstance(container, (list, tuple)) else ()
            inner += [value for value in values if isinstance(value, CONTAINERS)]
        if not inner:
            return False
        level = list({id(value): value for value in inner}.values())  # a cycle may have several paths
    return True
