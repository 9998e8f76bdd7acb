"""Blocks of sound: what they refuse, how they travel, and the names of the module in the docs."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.connectors import audio
from fission.connectors.audio import AudioBlock
from fission.core.audio_block import DTYPES, as_floats
from fission.errors import ValueFitError

PAGE = Path(__file__).parents[2] / "docs" / "audio.md"
GOOD: dict[str, Any] = {"samples": np.zeros((3, 2), "float32"), "rate": 16000}


def test_what_a_block_has() -> None:
    block = AudioBlock(np.zeros((3, 2), "int16"), np.float64(16000), np.int64(7), 5)
    assert (block.frames, block.channels, block.first_sample, block.end, block.rate, block.time) == (3, 2, 7, 10, 16000, 5.0)
    assert [type(value) for value in (block.rate, block.first_sample, block.time)] == [int, int, float]
    assert AudioBlock(np.zeros(0), 44100.5).rate == 44100.5
    assert AudioBlock(np.zeros(4), 8000).channels == 1


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("samples", [0, 1], "samples must be a numpy array, but is list"),
        ("samples", np.zeros(3, "int64"), "dtype of samples must be one of uint8, int16, int32, float32, float64, but is int64"),
        ("samples", np.zeros(3, "complex64"), "but is complex64"),
        ("samples", np.zeros((2, 2, 2)), r"shape \(frames,\) or \(frames, channels\), but has \(2, 2, 2\)"),
        ("samples", np.zeros((5, 0)), r"but has \(5, 0\)"),
        ("rate", 0, "rate must be a number of frames per second above 0, but is 0"),
        ("rate", float("nan"), "but is nan"),
        ("rate", True, "but is True"),
        ("rate", "16000", "but is '16000'"),
        ("first_sample", 1.5, "first_sample must be an int, but is 1.5"),
        ("first_sample", False, "but is False"),
        ("time", "now", "time must be a number of seconds, or None, but is 'now'"),
        ("time", float("inf"), "but is inf"),
    ],
)
def test_what_a_block_refuses(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueFitError, match=f"AudioBlock: .*{text}"):
        AudioBlock(**{**GOOD, field: value})


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_travel_out_of_band(dtype: str) -> None:
    block = AudioBlock(np.arange(100_000).reshape(-1, 2).astype(dtype), 48000, 12, 3.5)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(block, 5, buffer_callback=buffers.append)
    assert [len(buffer.raw()) for buffer in buffers] == [block.samples.nbytes]
    assert len(data) < 500
    copy = pickle.loads(data, buffers=buffers)
    assert np.shares_memory(copy.samples, block.samples)
    assert (copy.rate, copy.first_sample, copy.time) == (48000, 12, 3.5)
    assert (pickle.loads(pickle.dumps(block)).samples == block.samples).all()


@pytest.mark.parametrize(
    ("dtype", "values", "floats", "result"),
    [
        ("uint8", [0, 128, 255], [-1, 0, 127 / 128], "float32"),
        ("int16", [-(2**15), 1, 2**15 - 1], [-1, 2**-15, 1 - 2**-15], "float32"),
        ("int32", [-(2**31), 1, 2**31 - 1], [-1, 2**-31, 1 - 2**-31], "float64"),
        ("float32", [-1, 0.5, 2], [-1, 0.5, 2], "float32"),
        ("float64", [-1, 1e-9, 2], [-1, 1e-9, 2], "float64"),
    ],
)
def test_floats_of_samples_are_exact(dtype: str, values: list[float], floats: list[float], result: str) -> None:
    for order in "<>":
        found = as_floats(np.array(values, np.dtype(dtype).newbyteorder(order)))
        assert found.dtype == result
        assert found.tolist() == floats


def test_every_public_name_is_in_the_docs() -> None:
    rows = re.findall(r"^\| `(\w+)(?:\([^`]*\))?`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for name in rows if name[0].isupper()]
    assert sorted(set(named)) == sorted(audio.__all__)
