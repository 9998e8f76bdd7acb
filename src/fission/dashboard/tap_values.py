"""Reads the blocks of a pipe without the classes of the network's user. No I/O.

The page's server never imports or calls what a block names: `pickle` finds only the harmless
classes listed here, and a `StandIn` for every other one. Arrays of numpy are rebuilt from their
bytes (`fission.dashboard.tap_arrays`).
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import io
import json
import math
import pickle
import uuid
from typing import Any, ClassVar, NamedTuple

from fission.dashboard import tap_arrays

#: Classes that are called with what a block contains. None of them runs code that a block chooses,
#: allocates more than the block's own size, or can be changed by a pickle.
PLAIN: dict[tuple[str, str], Any] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        complex,
        set,
        frozenset,
        collections.OrderedDict,
        collections.deque,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        uuid.UUID,
        array.array,
    )
}


class StandIn:
    """In place of an object whose class is not known here: keeps what its pickle says of it.

    Attributes:
        named: module and name of the class, or of the function that would have made the object.
        arguments: what it would have been made of.
        state: what it would have been given then.
        items: what it would have contained, as a list, set or dict.
    """

    named: ClassVar[str] = ""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.arguments = (*arguments, *keywords.items())
        self.state: Any = None
        self.items: list[Any] = []

    def __new__(cls, *arguments: Any, **keywords: Any) -> StandIn:
        """Make an object for which `__init__` need not be called: `pickle` does not."""
        found = super().__new__(cls)
        found.__init__(*arguments, **keywords)  # type: ignore[misc]
        return found

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        """Do as a list does."""
        self.items.append(item)

    def add(self, item: Any) -> None:
        """Do as a set does."""
        self.items.append(item)

    def __repr__(self) -> str:
        return f"<{self.named}>"

    @property
    def content(self) -> Any:
        """What is known of the object, as one value; None: nothing."""
        if isinstance(self.state, tuple) and len(self.state) == 2 and isinstance(self.state[1], dict):
            parts = {**(self.state[0] or {}), **self.state[1]}  # of an object with slots
            return parts or None
        for found in (self.state, self.items):
            if found:
                return found
        return self.arguments or None


class _BlockUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class or function that a pickle names."""
        if (found := PLAIN.get((module, name))) is not None:
            return found
        if (module, name) == ("array", "_array_reconstructor"):
            return lambda *arguments: _array_of_machine(*arguments)  # a new one each time: a pickle may set its attributes
        if (found := tap_arrays.MAKERS.get((module.replace("numpy.core.", "numpy._core."), name))) is not None:
            return found if isinstance(found, type) else lambda *arguments: found(*arguments)
        return type("StandIn", (StandIn,), {"named": f"{module}.{name}"})


class SoundSeen(NamedTuple):
    """What is known of an `AudioBlock` or a `SpectrumBlock`.

    Attributes:
        array: of the first channel: samples, or spectra.
        rate: samples per second.
        channels: number of all channels.
    """

    array: Any
    rate: float
    channels: int


#: Number of dimensions without channels, by class.
SOUNDS = {"fission.core.audio_block.AudioBlock": 1, "fission.connectors.audio.spectrum_block.SpectrumBlock": 2}


def sound_of(value: Any) -> SoundSeen | None:
    """Return the sound that a value is; None: it is none, or not as its class makes it."""
    if not isinstance(value, StandIn) or value.named not in SOUNDS:
        return None
    dimensions, state = SOUNDS[value.named], value.state
    if not isinstance(state, (list, tuple)) or len(state) < 2:
        return None
    array, rate = (state[0].array if isinstance(state[0], tap_arrays.ArrayInParts) else state[0]), state[1]
    if type(rate) not in (int, float) or not 0 < rate < math.inf or getattr(getattr(array, "dtype", None), "kind", "") not in set("biufc"):
        return None
    if array.ndim == dimensions:
        return SoundSeen(array, rate, 1)
    if array.ndim == dimensions + 1 and array.shape[-1]:
        return SoundSeen(array[..., 0], rate, array.shape[-1])
    return None


def _array_of_machine(kind: Any, typecode: str, layout: int, data: bytes) -> Any:
    """Make an `array.array` of what its pickle contains; ``layout`` is that of the machine that has written it."""
    return array._array_reconstructor(array.array, typecode, layout, data)  # type: ignore[attr-defined]


def read_value(encoding: str, payload: Any) -> Any:
    """Return the value of a block, as far as it can be read here.

    Args:
        encoding: "pickle", "json" or "bytes".
        payload: of the block, as `fission.protocol.frames` decodes it.

    Raises:
        Exception: any: the payload is something else.
    """
    if type(payload) is tuple:  # joined or packed with others: plain values, or bytes
        return payload[0].take(payload[1])
    if type(payload) is list and not payload[0]:
        payload = payload[1]
    if encoding == "pickle":
        data, buffers = (payload[0], payload[1:]) if type(payload) is list else (payload, [])
        value = _BlockUnpickler(io.BytesIO(data), buffers=[memoryview(buffer).toreadonly() for buffer in buffers]).load()
        return value.array if isinstance(value, tap_arrays.ArrayInParts) else value
    data = bytes(payload[0] if type(payload) is list else payload)
    return json.loads(data) if encoding == "json" else data
