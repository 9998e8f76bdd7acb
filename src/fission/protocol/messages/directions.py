"""The directions of all typed messages, in the order of docs/messages.md.

To add one: write a module with its classes (`fission.protocol.messages.client_to_job` shows how), a ``CODEC`` and a docstring whose first
paragraph says who sends them to whom and on what; name the module here; run ``scripts/draw_messages.py``. Each message and `Part` has a
docstring: what has happened or what to do, then one line per field under "Attributes:". The tests of all directions
(tests/protocol/messages/) take their list from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fission.protocol.messages.codec import Codec

#: Modules with a ``CODEC``: names, because some are above this layer.
DIRECTIONS: tuple[str, ...] = ("fission.protocol.messages.client_to_job",)


def codec_of(direction: str) -> Codec[Any]:
    """Return the codec of a module of `DIRECTIONS`."""
    codec: Codec[Any] = import_module(direction).CODEC
    return codec
