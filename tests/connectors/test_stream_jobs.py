"""Jobs on streams of sound: the borders of blocks are in no result, nor are failures between them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.connectors.audio import AudioBlock, LevelJob, MergeChannelsJob, ResampleJob, SpectrumBlock, SplitChannelsJob, StftJob
from fission.connectors.audio import processors as processors_module
from fission.core.audio_block import DTYPES, as_floats
from fission.core.base import reset
from fission.core.head import Head
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError, ValueFitError

signal = pytest.importorskip("scipy.signal")

RATES = [8000, 11025, 16000, 44100, 48000, 16001, 22050.5]
LAST = Head(0b00100000)


def made(job_class: Callable[..., Any], *arguments: Any, inputs: int = 1, outputs: int = 1, **more: Any) -> Any:
    """Return a job after `setup`."""
    reset()
    pipes = [PicklePipe(number + 1) for number in range(inputs)]
    job = job_class(*arguments, inputs=pipes, outputs=[PicklePipe(90 + number) for number in range(outputs)], **more)
    assert job._fission_faults() == []
    job.setup()
    return job


def sound(seed: int, frames: int, channels: int, dtype: str) -> np.ndarray[Any, Any]:
    """Noise of full scale; shape (frames,) for 0 channels."""
    rng, shape = np.random.default_rng(seed), (frames, channels) if channels else (frames,)
    if dtype.startswith("float"):
        return rng.uniform(-1, 1, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def cut(samples: np.ndarray[Any, Any], sizes: Sequence[int], rate: float, plain: bool = False) -> list[Any]:
    """Return blocks of these sizes, again and again."""
    blocks: list[Any] = []
    first = number = 0
    while first < len(samples) or not blocks:
        part = samples[first : first + sizes[number % len(sizes)]]
        blocks.append(part if plain else AudioBlock(part, rate, first, 1000 + first / rate))
        first, number = first + len(part), number + 1
    return blocks


def results_of(make: Callable[[], Any], blocks: Sequence[Any], failures: Sequence[int] = ()) -> list[Any]:
    """Return what a job sends for blocks; after some of them a new incarnation continues with its state."""
    job, found = make(), []
    for number, block in enumerate(blocks):
        job.head = LAST if number == len(blocks) - 1 else Head(0)
        found.append(job.run(block))
        if number in failures:
            state = pickle.dumps(job.snapshot())
            job = make()
            job.restore(pickle.loads(state))
    return found


STREAMS = {
    "seed": st.integers(0, 99),
    "frames": st.integers(0, 900),
    "channels": st.integers(0, 3),
    "dtype": st.sampled_from(DTYPES),
    "sizes": st.lists(st.integers(0, 300), min_size=1, max_size=4).filter(any),
    "failures": st.lists(st.integers(0, 6), max_size=2),
    "plain": st.booleans(),
}
few = settings(max_examples=30, deadline=None, derandomize=True, database=None)


def joined(found: list[Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([getattr(each, "samples", getattr(each, "spectra", each)) for each in found])


def tolerance(dtype: str) -> float:
    return 1e-12 if dtype in ("int32", "float64") else 3e-7


def resampled_once(samples: np.ndarray[Any, Any], rate: float, rate_in: float) -> np.ndarray[Any, Any]:
    ratio = processors_ratio(rate, rate_in)
    return signal.resample_poly(as_floats(samples).astype("float64"), *ratio) if len(samples) else as_floats(samples)


def processors_ratio(rate: float, rate_in: float) -> tuple[int, int]:
    ratio = made(ResampleJob, rate)._fission_processor(rate_in)
    return ratio.up, ratio.down


@few
@given(rate=st.sampled_from(RATES), rate_in=st.sampled_from(RATES), **STREAMS)
def test_resampling_is_that_of_the_whole_sound(
    rate: float, rate_in: float, seed: int, frames: int, channels: int, dtype: str, sizes: list[int], failures: list[int], plain: bool
) -> None:
    samples = sound(seed, frames, channels, dtype)
    found = results_of(lambda: made(ResampleJob, rate, rate_in), cut(samples, sizes, rate_in, plain), failures)
    expected = resampled_once(samples, rate, rate_in)
    assert joined(found).shape == expected.shape
    assert joined(found).dtype == ("float64" if dtype in ("int32", "float64") else "float32")
    np.testing.assert_allclose(joined(found), expected, rtol=0, atol=tolerance(dtype) * 4)
    if not plain:
        assert [block.first_sample for block in found] == [0, *np.cumsum([block.frames for block in found])[:-1]]
        assert {block.rate for block in found} == {rate}
        np.testing.assert_allclose(
            [block.time for block in found], [1000 + block.first_sample / rate for block in found], rtol=0, atol=1e-6
        )


@few
@given(size=st.integers(2, 64), hop=st.integers(1, 64), window=st.sampled_from(["hann", "boxcar", ("kaiser", 5.0)]), **STREAMS)
def test_spectra_are_those_of_the_whole_sound(
    size: int,
    hop: int,
    window: Any,
    seed: int,
    frames: int,
    channels: int,
    dtype: str,
    sizes: list[int],
    failures: list[int],
    plain: bool,
) -> None:
    hop, frames = min(hop, size), max(frames, size)  # scipy refuses shorter sounds
    samples = sound(seed, frames, channels, dtype)
    found = results_of(lambda: made(StftJob, size, hop, window), cut(samples, sizes, 8000, plain), failures)
    whole = signal.ShortTimeFFT(signal.get_window(window, size), hop, 8000, phase_shift=None)
    expected = np.moveaxis(whole.stft(as_floats(samples).astype("float64"), axis=0), 1 if not channels else -1, 0)
    assert joined(found).shape == expected.shape
    np.testing.assert_allclose(joined(found), expected, rtol=0, atol=tolerance(dtype) * size)
    if not plain:
        assert all(isinstance(block, SpectrumBlock) for block in found)
        firsts = whole.p_min + np.cumsum([0, *(block.slices for block in found)])
        assert [block.first_slice for block in found] == firsts[:-1].tolist()
        times = [1000 + block.first_slice * hop / 8000 for block in found]
        np.testing.assert_allclose([block.time for block in found], times, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found[0].frequencies, whole.f, rtol=1e-12)


@few
@given(interval=st.integers(1, 200), kind=st.sampled_from(["rms", "peak"]), **STREAMS)
def test_levels_are_those_of_the_whole_sound(
    interval: int, kind: str, seed: int, frames: int, channels: int, dtype: str, sizes: list[int], failures: list[int], plain: bool
) -> None:
    samples = sound(seed, frames, channels, dtype)
    found = results_of(lambda: made(LevelJob, interval / 8000, kind, -90.0, rate_in=8000), cut(samples, sizes, 8000, plain), failures)
    squares = as_floats(samples).astype("float64") ** 2
    parts = [squares[first : first + interval] for first in range(0, frames, interval)]
    expected = [10 * np.log10(np.maximum(part.mean(0) if kind == "rms" else part.max(0), 1e-9)) for part in parts]
    np.testing.assert_allclose(joined(found), np.reshape(expected, (len(parts), *samples.shape[1:])), rtol=0, atol=1e-9)
    if not plain:
        assert {block.rate for block in found} == {8000 / interval}
        assert [block.first_sample for block in found] == [0, *np.cumsum([block.frames for block in found])[:-1]]


def test_known_levels() -> None:
    time = np.arange(8000) / 8000
    both = np.stack([np.sin(2 * np.pi * 400 * time), np.zeros(8000)], axis=1)
    assert made(LevelJob).run(AudioBlock(both, 8000)).samples.round(6).tolist() == [[-3.0103, -200]] * 8
    assert made(LevelJob, kind="peak").run(AudioBlock(np.full(1000, 0.1), 8000)).samples.round(6).tolist() == [-20]


@few
@given(
    seed=st.integers(0, 9),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=2, max_size=3),
    starts=st.lists(st.integers(0, 50), min_size=3, max_size=3),
    sizes=st.lists(st.lists(st.integers(0, 40), min_size=12, max_size=12), min_size=3, max_size=3),
    failure=st.integers(0, 11),
)
def test_merged_channels_are_matched_by_frame(
    seed: int, dtypes: list[str], starts: list[int], sizes: list[list[int]], failure: int
) -> None:
    wholes = [sound(seed + place, sum(sizes[place]), place, dtype) for place, dtype in enumerate(dtypes)]
    streams = []
    for whole, start, lengths in zip(wholes, starts, sizes, strict=False):
        ends = np.cumsum([0, *lengths]).tolist()
        streams.append([AudioBlock(whole[a:b], 8000, start + a, 5 + (start + a) / 8000) for a, b in pairwise(ends)])
    job, found = made(MergeChannelsJob, inputs=len(dtypes)), []
    for number, blocks in enumerate(zip(*streams, strict=True)):
        job.head = LAST if number == 11 else Head(0)
        found.append(job.run(*blocks))
        if number == failure:
            state = pickle.dumps(job.snapshot())
            job = made(MergeChannelsJob, inputs=len(dtypes))
            job.restore(pickle.loads(state))
    first = min(starts[: len(dtypes)])
    end = max(start + len(whole) for start, whole in zip(starts, wholes, strict=False))
    columns = []
    for whole, start in zip(wholes, starts, strict=False):
        part = whole.reshape(len(whole), max(whole.ndim - 1 and whole.shape[1], 1))
        part = part if len(set(dtypes)) == 1 else as_floats(part)
        column = np.full((end - first, part.shape[1]), 128 if part.dtype == "uint8" else 0, part.dtype)
        column[start - first : start - first + len(part)] = part
        columns.append(column)
    assert (joined(found) == np.concatenate(columns, axis=1)).all()
    assert [block.first_sample for block in found] == (first + np.cumsum([0, *(block.frames for block in found)])[:-1]).tolist()
    np.testing.assert_allclose([block.time for block in found], [5 + block.first_sample / 8000 for block in found], rtol=0, atol=1e-9)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_split_and_merged_channels_are_the_same(plain: bool, channels: int) -> None:
    samples = sound(1, 50, channels, "int16")
    split, merge = made(SplitChannelsJob, outputs=channels or 1), made(MergeChannelsJob, inputs=channels or 1)
    for block in cut(samples, [20], 8000, plain):
        parts = split.run(block)
        assert [getattr(part, "samples", part).shape for part in parts] == [(len(getattr(block, "samples", block)),)] * (channels or 1)
        again = merge.run(*parts)
        assert type(again) is type(block)
        assert (getattr(again, "samples", again) == getattr(block, "samples", block).reshape(-1, channels or 1)).all()
        if not plain:
            assert (again.rate, again.first_sample, again.time) == (block.rate, block.first_sample, block.time)


def test_a_gap_is_filled_and_a_jump_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    samples = sound(3, 600, 2, "float64")
    holed = samples.copy()
    holed[200:250] = 0
    blocks = cut(samples, [50], 8000)
    found = results_of(lambda: made(ResampleJob, 16000), [*blocks[:4], *blocks[5:]])
    np.testing.assert_allclose(joined(found), signal.resample_poly(holed, 2, 1), rtol=0, atol=1e-12)
    assert capsys.readouterr().err == "ResampleJob 1: gap of 50 frames before frame 250 filled with zeros\n"
    late = [AudioBlock(block.samples, 8000, block.first_sample + 100_000) for block in blocks]
    found = results_of(lambda: made(ResampleJob, 4000), [*blocks[:3], *late])
    np.testing.assert_allclose(joined(found[3:]), signal.resample_poly(samples, 1, 2), rtol=0, atol=1e-12)
    assert found[3].first_sample == 50_000
    assert capsys.readouterr().err == "ResampleJob 1: a block begins with frame 100000 instead of 150; a new stream begins\n"


def test_gaps_and_jumps_of_merged_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    job = made(MergeChannelsJob, inputs=2)
    zeros = np.ones(10)
    job.run(AudioBlock(zeros, 8000, 0), AudioBlock(zeros, 8000, 0))
    assert job.run(AudioBlock(zeros, 8000, 10), AudioBlock(zeros, 8000, 13)).samples[:, 1].tolist() == [0] * 3 + [1] * 7
    assert job.run(AudioBlock(zeros, 8000, 5), AudioBlock(zeros, 8000, 5)).first_sample == 5
    assert (job.gaps, job.jumps) == (1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "MergeChannelsJob 1: gap of 3 frames in input 2 before frame 13 filled with zeros",
        "MergeChannelsJob 1: input 1 jumps; all inputs begin anew",
    ]
    with pytest.raises(ValueFitError, match="must differ by at most 1 s, but is 0, 8001; they do not count the same frames"):
        made(MergeChannelsJob, inputs=2).run(AudioBlock(zeros, 8000, 0), AudioBlock(zeros, 8000, 8001))


@pytest.mark.parametrize(
    ("broken", "value"),
    [("held", lambda processor, number: processor.end), ("filter", lambda processor, number: number * processor.down // processor.up)],
)
def test_a_resampler_that_forgets_is_caught(monkeypatch: pytest.MonkeyPatch, broken: str, value: Any) -> None:
    monkeypatch.setattr(processors_module.Resampler, "needed_from", value)
    samples = sound(3, 600, 2, "float64")
    found = joined(results_of(lambda: made(ResampleJob, 48000), cut(samples, [100], 44100)))
    expected = resampled_once(samples, 48000, 44100)
    assert found.shape != expected.shape or abs(found - expected).max() > 0.01


@pytest.mark.parametrize(
    ("make", "blocks", "error", "text"),
    [
        (
            lambda: made(ResampleJob, 8000),
            [[1, 2]],
            ValueFitError,
            "blocks must be AudioBlock objects or numpy arrays, but one is \\[1, 2\\]",
        ),
        (lambda: made(ResampleJob, 8000), [np.zeros(3)], DefinitionError, "rate_in must be the rate of the plain arrays"),
        (lambda: made(LevelJob), [np.zeros(3)], DefinitionError, "rate_in must be the rate of the plain arrays"),
        (lambda: made(ResampleJob, 1), [AudioBlock(np.zeros(3), 1e9)], ValueFitError, "ratio of the rates must be a fraction"),
        (
            lambda: made(StftJob, window="hat"),
            [np.zeros(3)],
            DefinitionError,
            "window must be one of scipy.signal.get_window, but is 'hat'",
        ),
        (
            lambda: made(StftJob),
            [AudioBlock(np.zeros(3), 8000), AudioBlock(np.zeros((3, 2)), 8000, 3)],
            ValueFitError,
            "all blocks must have 1 channels at 8000 frames per second, but one has 2 channels at 8000",
        ),
        (lambda: made(StftJob), [np.zeros(3, "int64")], ValueFitError, "the dtype of samples must be one of"),
        (lambda: made(SplitChannelsJob, outputs=2), [np.zeros((3, 3))], ValueFitError, "but has 2 outputs for 3 channels"),
    ],
)
def test_blocks_that_do_not_fit_are_one_line(make: Callable[[], Any], blocks: list[Any], error: type[Exception], text: str) -> None:
    job = make()
    for block in blocks[:-1]:
        job.run(block)
    with pytest.raises(error, match=rf"^\w+ 1: .*{text}"):
        job.run(blocks[-1])


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (ResampleJob, {"rate": 0}, "rate must be a number of frames per second above 0, but is 0"),
        (ResampleJob, {"rate": 8000, "rate_in": "x"}, "rate_in must be a number"),
        (StftJob, {"size": 1}, "size must be an int of at least 2, but is 1"),
        (StftJob, {"size": 8, "hop": 9}, "hop must be an int from 1 to size, or None, but is 9"),
        (LevelJob, {"interval": 0}, "interval must be a number of seconds above 0, but is 0"),
        (LevelJob, {"kind": "loud"}, "kind must be 'rms' or 'peak', but is 'loud'"),
    ],
)
def test_arguments_are_checked(kind: Any, arguments: dict[str, Any], text: str) -> None:
    job = kind(**arguments, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
    assert [fault for fault in job._fission_faults() if text in fault], job._fission_faults()
