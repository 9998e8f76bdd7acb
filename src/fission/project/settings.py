"""The table of the settings of config.py: the valid values of each, its default, and its parser.

Each setting is also a field of `fission.project.config.Config`, with the default that takes effect;
tests compare the two and the template. JOBS, NODES and XML_FILE are only checked for their type
here; `config` reads the files that they name.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path, PurePosixPath
from typing import Any

from fission.core.addresses import canonical, fault_of, split_port
from fission.project.names import did_you_mean

LOG_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET")  # the names of the logging module

# The roles of tags and attributes in the XML file -> their names without XML_ARGS.
XML_NAMES: Mapping[str, str] = {
    "ip": "pi_id",
    "executable": "executable",
    "dependencies": "path",
    "input": "input",
    "output": "output",
    "pipe_id": "pipe_id",
    "parameter_tag": "parameter",
    "parameter": "param",
    "block_size": "block_size",
    "block_count": "block_count",
}

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_ADDRESS = re.compile(r"([a-z]+://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/]+):(?P<port>\d{1,5})/?")


class InvalidValue(Exception):
    """A value is invalid for its setting; the text, if any, is advice."""


@dataclass(frozen=True)
class Setting:
    """One setting of config.py.

    Attributes:
        name: its name in config.py.
        must: its valid values, to follow "must be".
        default: the same as the default of its field in `Config`, which takes effect.
        parse: converts the value of config.py to the value of `Config`; raises `InvalidValue`.
        remote: whether only a run on NODES needs it; `simulate` then ignores it.
    """

    name: str
    must: str
    default: Any
    parse: Callable[[Any], Any]
    remote: bool = False

    @property
    def field(self) -> str:
        """Its name in `Config`."""
        return self.name.lower()


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidValue("write it without quotes" if isinstance(value, str) else "")


def _int(low: int, high: int | None = None) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value and (high is None or value <= high):
            return value
        raise InvalidValue("write it without quotes" if isinstance(value, str) and value.strip().isdigit() else "")

    return parse


def _seconds(low: float, high: float = math.inf, *, positive: bool = False) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise InvalidValue
        if not low <= value <= high or (positive and value <= 0):
            raise InvalidValue
        return float(value)

    return parse


def _optional(parse: Callable[[Any], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else parse(value)


def _text(parse: Callable[[Any], Any]) -> Callable[[object], Any]:
    """Like `_optional`, but empty text also means not set: MARVELO's template has USER = "" and
    CLIENT_IP = "".
    """
    return lambda value: None if value is None or value == "" else parse(value)


def _path(value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str) and text.strip() and "\0" not in text:
            return text
    raise InvalidValue


def _log_level(value: object) -> str:
    if isinstance(value, str) and value in LOG_LEVELS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and logging.getLevelName(value) in LOG_LEVELS:
        return str(logging.getLevelName(value))  # LOG_LEVEL = logging.INFO
    raise InvalidValue(did_you_mean(value, LOG_LEVELS).removeprefix("; ") if isinstance(value, str) else "")


def _user(value: object) -> str:
    if isinstance(value, str) and _USER.fullmatch(value):
        return value
    raise InvalidValue


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue
    if fault := fault_of(value):
        raise InvalidValue(fault.partition(", ")[2])
    return canonical(value)


def _remote_root(value: object) -> str:
    """Refuse folders that must never be emptied on a node: the root, a top-level folder, and the
    result of an empty USER.
    """
    text = _path(value)
    path = PurePosixPath(text)
    if not path.is_absolute() or len(path.parts) < 3 or ".." in path.parts:
        raise InvalidValue("choose a folder below one, like /home/pi/fission/")
    if "//" in text:
        raise InvalidValue("a part of it is empty, is USER set?")
    return text


def _cluster(value: object) -> str:
    if isinstance(value, str):
        match = _ADDRESS.fullmatch(value)
        if match and 1 <= int(match["port"]) <= 65535:
            return value
    raise InvalidValue


def _entries(value: object) -> tuple[object, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    if isinstance(value, (str, os.PathLike)):
        return (value,)
    raise InvalidValue("put it into a list: [...]")


def _modules(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise InvalidValue("put it into a list: [...]" if isinstance(value, str) else "")
    for number, name in enumerate(value, 1):
        if not isinstance(name, str) or not all(part.isidentifier() and not iskeyword(part) for part in name.split(".")):
            raise InvalidValue(f"entry {number} is {name!r:.100}")
        if name in value[: number - 1]:
            raise InvalidValue(f"list {name!r} once")
    return tuple(value)


def _xml_args(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidValue
    problems = []
    for role, name in value.items():
        if not isinstance(role, str) or role not in XML_NAMES:
            hint = did_you_mean(role, XML_NAMES) if isinstance(role, str) else ""
            problems.append(f"its keys must be among {', '.join(XML_NAMES)}, but one is {role!r}{hint}")
        if not isinstance(name, str) or not name.strip():
            problems.append(f"the value of its key {role!r} must be a name, but is {name!r}")
    if problems:
        raise InvalidValue("; ".join(problems))
    return dict(value)


def _port(value: object) -> int:
    return _int(1, 65535)(value)


def _page(value: object) -> int | str:
    """Return a port, or "HOST:PORT" as it is."""
    if not isinstance(value, str):
        return _port(value)
    found = split_port(value)
    if found is None or not found[1]:
        raise InvalidValue("write the port without quotes" if value.strip().isdigit() else "")
    return value


_PORT_TEXT = "a port number from 1 to 65535"

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("USER", "the name of a user on the nodes, like 'pi'", None, _text(_user), remote=True),
        Setting("REMOTE_ROOT", "an absolute path below a top-level folder of the nodes", None, _optional(_remote_root), remote=True),
        Setting("LOG_LEVEL", f"one of {', '.join(LOG_LEVELS)}", "INFO", _log_level),
        Setting("LOG_FILE", "the path of a file, relative to the project", "FISSION.log", _path),
        Setting("CLIENT_IP", "the client's IP address or host name, or None", None, _text(_host), remote=True),
        Setting("DEBUG_WINDOW", "True or False", False, _bool),
        Setting("JOBS", "a list of jobs, or the path of a CSV file", (), _entries),
        Setting("NODES", "a list of nodes and paths of CSV files", (), _entries, remote=True),
        Setting("PRE_COPY", "True or False", False, _bool),
        Setting("XML_FILE", "the path of an XML file, or None", None, _text(lambda value: Path(_path(value)))),
        Setting("XML_ARGS", "a dict that renames tags and attributes of the XML file, or None", {}, _xml_args),
        Setting("PRELOAD", "a list of names of installed modules, like ['numpy', 'scipy.signal']", (), _modules),
        Setting("PULSE_INTERVAL", "a number of seconds from 0.1 to 1000", 0.1, _seconds(0.1, 1000)),
        Setting("HEAD_SIZE", "a whole number of bytes from 1 to 4", 1, _int(1, 4)),
        Setting("CLUSTER", "a Dask scheduler's address, like 'tcp://192.168.4.1:8786', or None", None, _optional(_cluster), remote=True),
        Setting("PORT", _PORT_TEXT, 8786, _port),
        Setting("ALLOCATION_TIMEOUT", "a number of seconds, 0 or more", 30.0, _seconds(0)),
        Setting("RESTARTS", "a whole number, 0 or more, or None (always restarted)", 5, _optional(_int(0))),
        Setting("RESTART_WINDOW", "a number of seconds above 0", 60.0, _seconds(0, positive=True)),
        Setting("ORPHAN_TIMEOUT", "a number of seconds above 0", 60.0, _seconds(0, positive=True)),
        Setting("DEADLINE", "a number of seconds above 0, or None", None, _optional(_seconds(0, positive=True))),
        Setting("KEEP_RUNS", "a whole number of 1 or more, or None for all", 10, _optional(_int(1))),
        Setting("SECURITY", "True or False", True, _bool),
        Setting("DASHBOARD", f"{_PORT_TEXT}, 'HOST:PORT', or None", None, _optional(_page)),
    )
}
