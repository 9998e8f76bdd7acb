"""What an update of a pipe's view has: pictures of the right numbers, of bounded size, for every kind of value."""

from __future__ import annotations

import base64
import json
import math
import pickle
from typing import Any

import numpy
import pytest

from fission.connectors.audio.spectrum_block import SpectrumBlock
from fission.core.audio_block import AudioBlock
from fission.dashboard.tap_image import MOST_PIXELS
from fission.dashboard.tap_signal import BINS, FRAME, MOST_COLUMNS, SCOPE_COLUMNS
from fission.dashboard.tap_view import MOST_POINTS, MOST_READ, MOST_VALUES, PipeView, TapOptions
from fission.protocol.tapped import Seen
from tests.dashboard.test_tap_values import ARRAYS, PLAIN, Plain

#: Largest update, in bytes of JSON: a picture, or samples, as text.
MOST_BYTES = 300_000


class Shown:
    """A view, and blocks for it."""

    def __init__(self, encoding: str = "pickle", **options: Any) -> None:
        self.view = PipeView(TapOptions(1, options.pop("window", 1024), **options), encoding, 8 << 20)
        self.sqn = 1

    def add(self, *values: Any) -> Shown:
        payloads = [value if isinstance(value, bytes) else pickle.dumps(value, 5) for value in values]
        self.view.add(100.0 + self.sqn, Seen(0.0, 0, self.sqn, len(values), payloads))
        self.sqn += len(values)
        return self

    def update(self) -> Any:
        found = self.view.update()
        text = json.dumps(found, allow_nan=False)
        assert len(text) < MOST_BYTES
        return json.loads(text)


def floats(text: str) -> Any:
    return numpy.frombuffer(base64.b64decode(text), "<f4")


def tone(share: float, count: int, start: int = 0, amplitude: float = 0.5) -> Any:
    """Return samples of a tone whose frequency is a share of the rate of samples."""
    return amplitude * numpy.sin(2 * numpy.pi * share * (numpy.arange(count) + start))


@pytest.mark.parametrize("value", [*PLAIN, Plain(), *ARRAYS], ids=lambda value: f"{type(value).__name__} {value!s:.30}")
def test_every_value_is_shown(value: Any) -> None:
    shown = Shown()
    for _ in range(3):
        update = shown.add(value, value).update()
        assert update["passed"] == 2
        assert len(update["values"]) == 2
        assert "note" not in update


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "u1", "c16", "e", "g"])
@pytest.mark.parametrize("length", [100, 800, 5000])
def test_the_peak_of_a_spectrogram_is_the_tone(kind: str, length: int) -> None:
    """Also when a spectrum needs samples of many blocks."""
    share = 0.125 + 1 / FRAME
    shown, start, peaks = Shown(), 0, []
    for _ in range(12):
        samples = tone(share, length, start) if kind != "c16" else 0.5 * numpy.exp(-2j * numpy.pi * share * (numpy.arange(length) + start))
        start += length
        update = shown.add((samples * 100 + 128 if kind == "u1" else samples * 1000 if kind == "i2" else samples).astype(kind)).update()
        if "spectrogram" in update:
            peaks.append(update["spectrogram"])
    assert peaks
    for found in peaks:
        assert found["rows"] == BINS
        assert 0 < found["columns"] <= MOST_COLUMNS
        levels = numpy.frombuffer(base64.b64decode(found["levels"]), "u1").reshape(found["columns"], BINS)
        wanted = -share if kind == "c16" else share
        assert found["both"] == (kind == "c16")
        assert abs(found["peak"] - wanted) <= 2 / FRAME
        row = round((wanted + 0.5) * BINS if found["both"] else wanted * FRAME)
        assert abs(int(levels[-1][2:].argmax()) + 2 - row) <= 1
        assert levels.max() >= 250


def test_samples_on_both_sides_of_a_gap_are_not_joined() -> None:
    """A spectrum over a gap would have a step in it that was never there."""
    shown = Shown()
    shown.add(tone(0.1, FRAME - 1)).update()
    shown.sqn += 1  # a block was missed
    assert "spectrogram" not in shown.add(tone(0.1, FRAME - 1, start=7)).update()
    assert "spectrogram" in shown.add(tone(0.1, FRAME)).update()


def test_the_oscilloscope_has_the_least_and_the_greatest_of_each_column() -> None:
    samples = numpy.zeros(4096)
    samples[1000], samples[3001] = 7, -3
    update = Shown(window=4096).add(samples).update()
    (part,) = update["oscilloscope"]["parts"]
    low, high = floats(part["low"]), floats(part["high"])
    assert len(low) == len(high) == SCOPE_COLUMNS
    assert high.max() == 7, "a peak of one sample is lost"
    assert low.min() == -3
    assert int(high.argmax()) == 1000 * SCOPE_COLUMNS // 4096


def test_the_picture_of_a_tone_does_not_move() -> None:
    shown, pictures = Shown(window=256), []
    for number in range(5):
        (part,) = shown.add(tone(1 / 50, 1013, start=number * 1013)).update()["oscilloscope"]["parts"]
        pictures.append(floats(part["high"]))
    assert all(numpy.abs(picture - pictures[1]).max() < 0.1 for picture in pictures[1:])


def test_what_is_not_finite_is_counted_and_drawn_as_zero() -> None:
    update = Shown().add(numpy.array([1.0, numpy.nan, numpy.inf, 2.0])).update()
    assert update["odd"] == 2
    assert floats(update["oscilloscope"]["parts"][0]["high"]).tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("value", [1e308, 1e-308, 0.0])
def test_extreme_samples_and_pictures_stay_finite(value: float) -> None:
    shown = Shown().add(numpy.full(2 * FRAME, value) * numpy.tile([1, -1], FRAME))
    assert "spectrogram" in shown.update()
    assert Shown().add(numpy.full((300, 300), value) * [[1] * 150 + [-1] * 150]).update()["kind"] == "image"


def test_numbers_are_a_line_with_the_extremes_of_each_point() -> None:
    update = Shown().add(*range(1000)).update()
    assert update["kind"] == "numbers"
    assert len(update["line"]) <= MOST_POINTS
    assert (update["line"][0][1], update["line"][-1][2]) == (0, 999)
    assert Shown().add(float("nan"), 10**400).update()["line"] == [[101.0, None, None], [101.0, None, None]]


@pytest.mark.parametrize("value", [True, numpy.float16(1), numpy.array(1, "u8"), 0.6 + 0.8j, numpy.complex64(1j), numpy.longdouble(1)])
def test_every_kind_of_number_is_a_point(value: Any) -> None:
    assert Shown().add(value).update()["line"][0][1:] == [1, 1]


def test_a_list_of_numbers_is_samples() -> None:
    assert Shown().add([1.0, 2, 3.5]).update()["kind"] == "samples"
    assert Shown().add([1.0, "a"]).update()["kind"] == "values"


def test_a_large_picture_is_reduced_to_means() -> None:
    array = numpy.zeros((1000, 600), "u1")
    array[500:, :] = 200
    image = Shown().add(array).update()["image"]
    assert (image["width"], image["height"], image["of"]) == (MOST_PIXELS, MOST_PIXELS, [600, 1000])
    pixels = numpy.frombuffer(base64.b64decode(image["pixels"]), "u1").reshape(MOST_PIXELS, MOST_PIXELS)
    assert (pixels[0] == 0).all()
    assert (pixels[-1] == 255).all()
    assert (image["low"], image["high"]) == (0, 200)


def test_a_picture_in_colour_keeps_its_colours() -> None:
    array = numpy.zeros((2, 3, 4), "u1")
    array[0, 1] = (10, 20, 30, 255)
    image = Shown().add(array).update()["image"]
    assert image["colours"] == 3
    assert list(base64.b64decode(image["pixels"]))[3:6] == [10, 20, 30]


def test_only_the_newest_blocks_are_read_and_sent() -> None:
    update = Shown().add(*range(5 * MOST_READ)).update()
    assert update["passed"] == 5 * MOST_READ
    assert [value[0] for value in update["values"]] == list(range(5 * MOST_READ - MOST_VALUES + 1, 5 * MOST_READ + 1))
    assert update["line"][0][1] == 4 * MOST_READ


def test_a_block_that_was_too_large_to_copy_is_said_to_be() -> None:
    shown = Shown()
    shown.view.add(1.0, Seen(0.0, 0, 7, 1))
    assert shown.update()["values"] == [[7, 0, "<larger than 8 MB: only its number is shown>"]]


def test_a_block_that_cannot_be_read_does_not_end_the_view() -> None:
    shown = Shown()
    values = shown.add(b"no pickle").add(5).update()["values"]
    assert "cannot be read here" in values[0][2]
    assert values[1][2] == "5"


def test_bytes_are_numbers_if_the_viewer_says_so() -> None:
    samples = numpy.arange(100, dtype="<i2")
    update = Shown("bytes", read_as="int16").add(samples.tobytes() + b"x").update()
    assert update["type"] == "int16 array of 100"
    assert Shown("bytes").add(samples.tobytes()).update()["kind"] == "values"


def test_sound_has_all_samples_and_says_where_some_are_missing() -> None:
    shown = Shown(sound=True)
    first = shown.add(numpy.array([0, 32767], "i2")).update()["sound"]
    assert floats(first["samples"]) == pytest.approx([0, 1])
    assert first["gap"]
    assert not shown.add(numpy.array([5, 5], "i2")).update()["sound"]["gap"]
    shown.sqn += 1
    assert shown.add(numpy.array([5, 5], "i2")).update()["sound"]["gap"]
    assert floats(Shown(sound=True).add(numpy.array([0, 255], "u1")).update()["sound"]["samples"]) == pytest.approx([-1, 1])
    assert "sound" not in Shown().add(numpy.array([5, 5], "i2")).update()


def test_the_first_channel_of_sound_is_shown_with_its_rate() -> None:
    samples = numpy.stack([tone(0.125, 4096), numpy.zeros(4096)], 1)
    for kind in ("float32", "int16"):
        shown = (samples * (30_000 if kind == "int16" else 1)).astype(kind)
        update = Shown(sound=True).add(AudioBlock(shown, 16_000.0)).update()
        assert (update["kind"], update["rate"], update["note"]) == ("samples", 16_000, "the first of 2 channels is shown")
        assert update["spectrogram"]["peak"] == 0.125
        assert floats(update["sound"]["samples"]).max() == pytest.approx(0.5, abs=0.05)
    alone = Shown().add(AudioBlock(samples[:, 0], 16_000.0)).update()
    assert alone["spectrogram"]["peak"] == 0.125
    assert "note" not in alone


def test_spectra_are_a_picture() -> None:
    spectra = numpy.ones((7, 513, 2), numpy.complex64)
    update = Shown().add(SpectrumBlock(spectra, 16_000.0, 1024, 512)).update()
    assert (update["kind"], update["image"]["of"], update["rate"]) == ("image", [513, 7], 16_000)


class Odd:
    """Pickles as an `AudioBlock` with another state."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def __reduce__(self) -> Any:
        return AudioBlock, (), self._state


@pytest.mark.parametrize(
    "state", [None, [], [1, 2], [numpy.zeros(3), "fast"], [numpy.zeros(3), math.inf], [numpy.zeros((2, 2, 2)), 5.0], [b"x", 5]]
)
def test_sound_that_its_class_does_not_make_is_shown_as_text(state: Any) -> None:
    update = Shown().add(Odd(state)).update()
    assert (update["kind"], update["type"]) == ("values", "fission.core.audio_block.AudioBlock")
    assert "rate" not in update
