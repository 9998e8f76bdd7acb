"""What the page shows of the blocks that pass on one pipe: the last values, and a picture of them. No I/O.

Blocks are added as they come, and an update has what the browser must draw: its size is bounded,
whatever passes. Values of users are in it as text, numbers or bytes of pictures only.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from fission.dashboard.tap_signal import Run, Samples, finite, text_of_bytes
from fission.dashboard.tap_texts import kind_of, text_of
from fission.dashboard.tap_values import StandIn, read_value, sound_of
from fission.protocol.tapped import Seen

#: Blocks that an update reads, the newest ones; arbitrary: they take a few milliseconds.
MOST_READ = 1000
#: Values that an update has as text, the newest ones; arbitrary: more than the eye follows.
MOST_VALUES = 20
#: Points of a line in one update, each the least and the greatest of some numbers. Arbitrary.
MOST_POINTS = 32
#: Samples of sound in one update; arbitrary: a quarter of a second at 192 kHz.
MOST_SOUND = 48_000
#: Samples of one block that are looked at, the last ones. Arbitrary: more than a picture has.
MOST_SAMPLES = 1 << 18
#: Elements of the largest list that is taken for an array; arbitrary: longer ones take long to look through.
MOST_LIST = 10_000
#: What bytes may be read as: names of numpy, little-endian.
READ_AS = ("", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
#: What a block that was not copied is, instead of a value.
TOO_LARGE = "larger than {size}: only its number is shown"


@dataclass(frozen=True)
class TapOptions:
    """What a viewer has chosen.

    Attributes:
        pipe: id of the pipe.
        window: length of the oscilloscope's picture, in samples (`fission.dashboard.tap_signal.WINDOWS`).
        read_as: one of `READ_AS`; empty: bytes are not numbers.
        sound: whether updates have the samples themselves.
    """

    pipe: int
    window: int
    read_as: str = ""
    sound: bool = False


class _Block(NamedTuple):
    at: float
    sqn: int
    head: int
    payload: Any  # None: only the number has come
    value: Any = None


class PipeView:
    """The view of one pipe for viewers with the same options."""

    def __init__(self, options: TapOptions, encoding: str, largest: int) -> None:
        """Begin without blocks.

        Args:
            options: of the viewers.
            encoding: of the pipe's blocks: "pickle", "json" or "bytes".
            largest: bytes of the largest message whose blocks come whole.
        """
        self._options = options
        self._encoding = encoding
        self._largest = largest
        self._waiting: deque[tuple[float, Seen]] = deque()
        self._kept = self._passed = 0  # number of blocks: waiting, and since the last update
        self._samples = Samples(options.window)
        self._last_sample: int | None = None  # number of the last block whose samples were added

    @property
    def has_news(self) -> bool:
        """Whether blocks were added since the last update."""
        return self._passed > 0

    def add(self, at: float, seen: Seen) -> None:
        """Add blocks that have passed.

        Args:
            at: when, in seconds since the epoch.
            seen: the blocks.
        """
        self._waiting.append((at, seen))
        self._passed += seen.count
        self._kept += seen.count
        while self._kept - self._waiting[0][1].count >= MOST_READ:
            self._kept -= self._waiting.popleft()[1].count

    def update(self) -> dict[str, Any]:
        """Return what has come since the last update, for the browser."""
        blocks = [self._read(block) for block in self._newest()]
        found: dict[str, Any] = {"passed": self._passed, "values": [], "kind": "nothing"}
        self._waiting.clear()
        self._kept = self._passed = 0
        if not blocks:
            return found
        found["values"] = [[block.sqn, block.head, text_of(block.value)] for block in blocks[-MOST_VALUES:]]
        newest = blocks[-1]
        found |= {"at": newest.at, "sqn": newest.sqn, "type": kind_of(newest.value), "kind": "values"}
        sound = sound_of(newest.value)
        if sound is not None:
            found["rate"] = sound.rate
            if sound.channels > 1:
                found["note"] = f"the first of {sound.channels} channels is shown"
        try:
            return found | self._picture(blocks)
        except Exception as why:  # what cannot be drawn must not end the view
            return found | {"note": f"cannot be drawn: {type(why).__name__}"}

    def _newest(self) -> list[_Block]:
        """Return the newest blocks that wait, at most `MOST_READ`."""
        found = []
        skipped = max(0, self._kept - MOST_READ)  # of the first message
        for at, seen in self._waiting:
            for index in range(skipped, seen.count):
                head = seen.heads[index] if seen.heads else 0
                found.append(_Block(at, seen.sqn + index, head, None if seen.payloads is None else seen.payloads[index]))
            skipped = 0
        return found

    def _read(self, block: _Block) -> _Block:
        if block.payload is None:
            value: Any = _Text(TOO_LARGE.format(size=f"{self._largest >> 20} MB"))
        else:
            try:
                value = self._as_numbers(read_value(self._encoding, block.payload))
            except ImportError:
                value = _Text("arrays need numpy on the machine that serves this page: pip install numpy")
            except Exception as why:
                value = _Text(f"cannot be read here: {type(why).__name__}")
        return block._replace(value=value)

    def _as_numbers(self, value: Any) -> Any:
        """Return bytes as the viewer has chosen, and other values as they are."""
        if self._options.read_as and isinstance(value, (bytes, bytearray)):
            import numpy

            kind = numpy.dtype(self._options.read_as).newbyteorder("<")
            return numpy.frombuffer(value, kind, count=len(value) // kind.itemsize)
        return value

    def _picture(self, blocks: list[_Block]) -> dict[str, Any]:
        """Return the picture for the newest block's kind of value, of all blocks of that kind."""
        array = _array_of(blocks[-1].value)
        if array is None:
            number = _number_of(blocks[-1].value)
            return {} if number is None else {"kind": "numbers", "line": _line(blocks)}
        if array.size and array.ndim >= 2:
            from fission.dashboard.tap_image import image_of

            return {"kind": "image", "image": image_of(array)}
        return self._signal(blocks) if array.ndim == 1 else {}

    def _signal(self, blocks: list[_Block]) -> dict[str, Any]:
        runs, odd = self._runs(blocks)
        for run in runs:
            self._samples.add(run)
        found = {"oscilloscope": self._samples.oscilloscope(), "spectrogram": self._samples.spectrogram()}
        sound = {"sound": _sound(blocks, runs)} if self._options.sound else {}
        return {"kind": "samples", "odd": odd, **{key: value for key, value in found.items() if value is not None}, **sound}

    def _runs(self, blocks: list[_Block]) -> tuple[list[Run], int]:
        """Return the samples of the blocks that follow each other as one run each, and how many samples are not finite."""
        import numpy

        runs: list[tuple[list[Any], bool]] = []
        odd = 0
        for block in blocks:
            array = _array_of(block.value)
            if array is None or array.ndim != 1:
                continue
            numbers, wrong = finite(array[-MOST_SAMPLES:])
            odd += wrong
            follows = self._last_sample is not None and block.sqn == self._last_sample + 1 and len(array) <= MOST_SAMPLES
            if follows and runs and runs[-1][0][0].dtype == numbers.dtype:
                runs[-1][0].append(numbers)
            else:
                runs.append(([numbers], follows))
            self._last_sample = block.sqn
        return [Run(numpy.concatenate(parts), follows) for parts, follows in runs], odd


class _Text:
    """A sentence in place of a value."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<{self._text}>"


def _array_of(value: Any) -> Any:
    """Return an array of numbers with at least one dimension; None: the value is none."""
    import sys

    sound = sound_of(value)
    if sound is not None:
        return sound.array
    if isinstance(value, (list, tuple)):
        if not 1 < len(value) <= MOST_LIST or not all(type(one) in (int, float) for one in value):
            return None
        try:
            import numpy

            return numpy.array(value, numpy.float64)
        except (ImportError, OverflowError):
            return None
    if type(value).__module__ == "array":
        return _of_machine_array(value)
    loaded = sys.modules.get("numpy")
    if loaded is None or not isinstance(value, loaded.ndarray) or not value.ndim or value.dtype.kind not in "biufc":
        return None
    return value


def _of_machine_array(value: Any) -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return None if value.typecode in "uw" else numpy.array(value)


def _number_of(value: Any) -> float | None:
    """Return a number as a float, of a complex one its magnitude; NaN if it is too large; None: the value is none."""
    if isinstance(value, StandIn):
        return None
    shape = getattr(value, "shape", None)
    if shape == () and getattr(value, "dtype", None) is not None:  # of numpy
        if value.dtype.kind not in "biufc":
            return None
        value = abs(complex(value)) if value.dtype.kind == "c" else float(value)
    if isinstance(value, complex):
        value = abs(value)
    if not isinstance(value, (bool, int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _line(blocks: list[_Block]) -> list[list[float | None]]:
    """Return points of a line: time, least and greatest number; None in place of those that are not finite."""
    numbers = [(block.at, number) for block in blocks if (number := _number_of(block.value)) is not None]
    size = max(1, math.ceil(len(numbers) / MOST_POINTS))
    points: list[list[float | None]] = []
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        known = [number for _, number in part if not math.isnan(number)]
        points.append([round(part[-1][0], 3), min(known, default=None), max(known, default=None)])
    return points


def _sound(blocks: list[_Block], runs: list[Run]) -> dict[str, Any]:
    """Return the newest samples that follow each other, as float32 between -1 and 1.

    "gap" says that they do not follow those of the update before.
    """
    import numpy

    if not runs:
        return {"samples": "", "gap": True}
    kind = getattr(_array_of(blocks[-1].value), "dtype", numpy.dtype(numpy.float64))
    samples = runs[-1].samples.real
    if kind.kind in "iu":
        limits = numpy.iinfo(kind)
        samples = (samples - (limits.max / 2 if kind.kind == "u" else 0.0)) / (limits.max / (2 if kind.kind == "u" else 1))
    samples = numpy.clip(samples, -1, 1)
    gap = len(runs) > 1 or not runs[-1].follows or len(samples) > MOST_SOUND
    return {"samples": text_of_bytes(samples[-MOST_SOUND:].astype("<f4").tobytes()), "gap": gap}
