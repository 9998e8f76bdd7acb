"""Secrets among a store's arguments: where they come from, and how they stay out of logs, messages
and the Router's answers.

A secret belongs to the Brokers that use it: they read it from a file or the environment, and it
never passes through the Router.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fission.pipelines.errors import DaemonError

#: An argument with such a name counts as a secret.
NAME = re.compile(r"passw|passphrase|secret|token|credential|api_?key|private_?key", re.IGNORECASE)
#: The password in a URL.
IN_URL = re.compile(r"(?<=://)([^/?#@\s:]*):([^/?#@\s]+)(?=@)")
HIDDEN = "***"
HOW = "with --store-secret NAME=file:PATH or NAME=env:VARIABLE, in Python store_arguments="


def secrets_in(arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of arguments that look like secrets, or contain one: a password in a URL, a
    secret in a nested value.
    """
    return [name for name, value in arguments.items() if _secret_texts(name, value)]


def _secret_texts(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        below = {f"{name} {inner}" if NAME.search(name) else str(inner): content for inner, content in value.items()}
        return [text for inner, content in below.items() for text in _secret_texts(inner, content)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _secret_texts(name, item)]
    if value is None or isinstance(value, bool):
        return []
    if NAME.search(name):
        return [str(value)]
    return [found.group(2) for found in IN_URL.finditer(value)] if isinstance(value, str) else []


def scrubber(arguments: Mapping[str, Any], also: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that removes the secrets of these arguments from a text.

    Args:
        arguments: of the store.
        also: names of arguments that are secrets whatever their names.
    """
    texts = {text for name, value in arguments.items() for text in _secret_texts(name, value)}
    texts |= {str(arguments[name]) for name in also}
    found = sorted((text for text in texts if text), key=len, reverse=True)

    def scrub(text: str) -> str:
        for secret in found:
            text = text.replace(secret, HIDDEN)
        return text

    return scrub


def read_secret(text: str) -> tuple[str, str]:
    """Return (name, value) of ``NAME=file:PATH`` or ``NAME=env:VARIABLE``; of a file, without the
    newline at its end.

    Raises:
        DaemonError: it is neither, or the file or variable does not exist.
    """
    name, equals, source = text.partition("=")
    kind, colon, place = source.partition(":")
    if not (name and equals and colon and place) or kind not in ("file", "env"):
        raise DaemonError(f"--store-secret must be NAME=file:PATH or NAME=env:VARIABLE, but is {name}={HIDDEN if source else ''}")
    if kind == "env":
        if place not in os.environ:
            raise DaemonError(f"--store-secret {name}: the environment has no variable {place}: set it")
        return name, os.environ[place]
    try:
        return name, Path(place).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DaemonError(f"--store-secret {name}: the file {place} cannot be read: {reason}") from None
