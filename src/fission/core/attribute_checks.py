"""Types and ranges of the class attributes of jobs and pipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from fission.core.base_job import BaseJob
from fission.core.executable_job import ExecutableJob
from fission.core.pipes import BytesPipe
from fission.core.registry import place_of
from fission.errors import Fault

if TYPE_CHECKING:
    from fission.core.job_graph import JobGraph


class _Rule(NamedTuple):
    fits: Callable[[Any], bool]
    must_be: str


#: Largest size of a number of bytes or blocks. Arbitrary: more than any machine has, and small enough for all that is computed with it.
LARGEST = 1 << 53


def _int(least: int = -LARGEST) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= LARGEST


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < float("inf")


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return _text(value) or (isinstance(value, (list, tuple)) and all(_text(entry) for entry in value))


def _bool(value: Any) -> bool:
    return isinstance(value, bool)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _checkpoint(value: Any) -> bool:
    from datetime import timedelta  # not at the top: a job's process does not need it

    return value > timedelta() if isinstance(value, timedelta) else _int(1)(value)


def _ratio(value: Any) -> bool:
    from fractions import Fraction

    return isinstance(value, Fraction | int) and not isinstance(value, bool) and value > 0


def _dependencies(value: Any) -> bool:
    listed = value if isinstance(value, (list, tuple)) else [value]
    folders = [entry for entry in listed if isinstance(entry, (str, os.PathLike)) and os.fspath(entry)]
    return len(folders) <= 1 and all(entry in folders or isinstance(entry, (ModuleType, type)) for entry in listed)


def job_classes(value: Any) -> bool:
    """Return whether a value is a list or tuple of job classes; it may be empty."""
    return isinstance(value, (list, tuple)) and all(isinstance(entry, type) and issubclass(entry, BaseJob) for entry in value)


def _command(value: Any) -> bool:
    import shlex

    try:
        return isinstance(value, str) and "\0" not in value and bool(shlex.split(value))
    except ValueError:  # an unclosed quote
        return False


_JOB_RULES = {
    "HEAD": _Rule(_bool, "True or False"),
    "BLOCK_TIME": _Rule(_bool, "True or False"),
    "GROUPS": _Rule(_texts, "the name of a group or a list of such names"),
    "DEFAULT_NODE": _Rule(_or_none(_text), "the address of a node (text) or None"),
    "MAX_QUEUE": _Rule(_int(0), "a number of blocks of at least 0 (0: no limit)"),
    "PRIORITY": _Rule(_int(), "an int"),
    "RESTARTS": _Rule(
        _or_none(lambda value: value == "config" if isinstance(value, str) else _int(0)(value)),
        'an int of at least 0, None (always restarted), or "config" for the value in the config',
    ),
    "DEADLINE": _Rule(_or_none(_positive), "a number of seconds above 0, or None"),
    "STALL_TIMEOUT": _Rule(_or_none(_seconds), "a number of seconds of at least 1, or None"),
    "CHECKPOINT": _Rule(_or_none(_checkpoint), "None, a number of blocks of at least 1, or a timedelta above 0"),
    "DEPENDENCIES": _Rule(
        _or_none(_dependencies), "None, a directory, a module or class, or a list of modules and classes with at most one directory"
    ),
}
_EXECUTABLE_RULES = {
    "EXECUTABLE": _Rule(_command, "the command to start (text, with closed quotes, without null characters)"),
    "PARAMETERS": _Rule(
        _or_none(lambda value: value == "" or (_command(f"x {value}") and isinstance(value, str))),
        "further arguments (text, with closed quotes, without null characters) or None",
    ),
    "INPUT_FLAG": _Rule(_text, "text"),
    "OUTPUT_FLAG": _Rule(_text, "text"),
    "OUTPUTS_FLAG": _Rule(_or_none(_text), "text"),
    "RATIO": _Rule(_or_none(_ratio), "an int or fractions.Fraction above 0, or None"),
}
_PIPE_RULES = {
    "BLOCK_SIZE": _Rule(lambda value: _int(1)(value) or _text(value), "a number of bytes of at least 1, or a name (text)"),
    "BLOCK_COUNT": _Rule(_int(1), "a number of blocks of at least 1"),
    "ASYNC": _Rule(_bool, "True or False"),
    "SOURCE_JOBS": _Rule(job_classes, "a list of job classes"),
    "DESTINATION_JOBS": _Rule(job_classes, "a list of job classes"),
    "OPTIONAL_STORE": _Rule(_bool, "True or False"),
    "OPTIONAL_BUFFER_SIZE": _Rule(_int(0), "a number of blocks of at least 0 (0: no limit)"),
    "OPTIONAL_DELETE_MODE": _Rule(lambda value: value in ("oldest", "newest") and isinstance(value, str), "'oldest' or 'newest'"),
}
_BYTES_PIPE_RULES = {"VIEW": _Rule(_bool, "True or False")}


def attribute_faults(network: JobGraph) -> Iterator[Fault]:
    """Yield attributes of a wrong type or range.

    Each object of a class with a fault yields the same fault.
    """
    for job in network.jobs.values():
        yield from _faults(job, job._fission_name, _JOB_RULES, job._fission_place)
        if isinstance(job, ExecutableJob):
            yield from _faults(job, job._fission_name, _EXECUTABLE_RULES, job._fission_place)
    for pipe in network.pipes.values():
        yield from _faults(pipe, str(pipe), _PIPE_RULES, pipe.created_at)
        if isinstance(pipe, BytesPipe):
            yield from _faults(pipe, str(pipe), _BYTES_PIPE_RULES, pipe.created_at)


def _faults(thing: object, name: str, rules: Mapping[str, _Rule], place: str) -> Iterator[Fault]:
    for attribute, rule in rules.items():
        value = getattr(thing, attribute)
        if rule.fits(value):
            continue
        must_be = rule.must_be
        if type(value) is int and abs(value) > LARGEST:
            must_be += ", and at most 2**53" if value > 0 else ", and at least -2**53"
        owner = next((cls for cls in type(thing).__mro__ if attribute in cls.__dict__), type(thing))
        if attribute in getattr(thing, "__dict__", ()) or owner.__module__.startswith("fission.core."):
            yield Fault(f"{name}: {attribute} must be {must_be}, but is {_shown(value)}", place)
        else:
            yield Fault(f"{owner.__name__}.{attribute} must be {must_be}, but is {_shown(value)}", _class_place(owner) or place)


def _shown(value: Any) -> str:
    if type(value) is int and abs(value) > LARGEST:
        return f"an int of {value.bit_length()} bits"  # Python refuses to print very large ones
    return repr(value)


def _class_place(cls: type) -> str:
    """Return the place of the class statement; ``""`` if its source cannot be found."""
    from inspect import getsourcefile, getsourcelines

    try:
        return place_of(getsourcefile(cls) or "", getsourcelines(cls)[1])
    except (OSError, TypeError):
        return ""
