"""The method alone, without jobs."""

from __future__ import annotations

import pickle

import numpy as np
import offline
import pytest
from fission.errors import DefinitionError
from scipy import fft

from demo_dxcp import dxcp, resampling, scene


def synchronise(first, second, made=None):
    """Return the synchroniser after both recordings, the estimates, and the second one at the first one's rate."""
    made = made or dxcp.Synchroniser()
    estimates, pieces = [], []
    for start in range(0, len(first), dxcp.SHIFT):
        pieces.append(made.add(first[start : start + dxcp.SHIFT], second[start : start + dxcp.SHIFT]))
        estimates.append(made.estimate)
    return made, estimates, np.concatenate(pieces)


def test_half_a_minute_suffices_for_1_ppm_and_a_plain_offline_reference_agrees(recorded):
    made, first, second = recorded
    _, estimates, sound = synchronise(first, second)
    last = estimates[-1]
    assert last.seconds > 29
    assert abs(last.rate_offset_ppm - made.rate_offset_ppm) <= 1
    assert abs(last.time_offset_ms - made.time_offset_ms) <= 0.05  # less than a sample
    reference_ppm, reference_ms = offline.offsets(first, second, dxcp.RATE)
    assert abs(last.rate_offset_ppm - reference_ppm) <= 1
    assert abs(last.time_offset_ms - reference_ms) <= 0.05
    # The loop: nothing is left to correct, and by the reference, too, the resampled recording does not drift any longer.
    assert abs(last.residual_ppm) < 0.1
    late = 12 * dxcp.RATE
    left, _ = offline.offsets(first[late : len(sound)], sound[late:], dxcp.RATE)
    assert abs(left) <= 1


def test_without_the_loop_the_drift_stays(recorded, monkeypatch):
    """The test above sees whether the loop is closed."""
    _, first, second = recorded
    monkeypatch.setattr(resampling.Resampler, "step", property(lambda self: 1.0, lambda self, step: None), raising=False)
    _, _, sound = synchronise(first[: 10 * dxcp.RATE], second[: 10 * dxcp.RATE])
    left, _ = offline.offsets(first[: len(sound)], sound, dxcp.RATE)
    assert left < -100


def test_the_lengths_of_the_pieces_do_not_matter(recorded):
    _, first, second = recorded
    _, estimates, sound = synchronise(first[: 8 * 16384], second[: 8 * 16384])
    other = dxcp.Synchroniser()
    random = np.random.default_rng(1)
    cuts = [sorted(random.integers(0, 8 * 16384, 40)) for _ in range(2)]
    pieces = [other.add(a, b) for a, b in zip(np.split(first[: 8 * 16384], cuts[0]), np.split(second[: 8 * 16384], cuts[1]), strict=True)]
    assert other.estimate.rate_offset_ppm == pytest.approx(estimates[-1].rate_offset_ppm, abs=1e-6)
    assert np.allclose(np.concatenate(pieces), sound)


def test_silence_and_strangers_have_no_offset():
    silence = np.zeros(9 * dxcp.RATE)
    noises = np.random.default_rng(2).standard_normal((2, 9 * dxcp.RATE))
    for pair in ((silence, silence), noises, (noises[0], silence)):
        _, estimates, _ = synchronise(*pair)
        assert np.isnan(estimates[-1].rate_offset_ppm)
        assert estimates[-1].seconds > 8


def test_a_pause_costs_nothing_but_time(recorded):
    made, first, second = recorded
    first, second = first[: 14 * dxcp.RATE].copy(), second[: 14 * dxcp.RATE].copy()
    first[8 * dxcp.RATE : 11 * dxcp.RATE] = second[8 * dxcp.RATE : 11 * dxcp.RATE] = 0
    _, estimates, _ = synchronise(first, second)
    assert abs(estimates[-1].rate_offset_ppm - made.rate_offset_ppm) < 3


def test_the_state_fits_a_checkpoint(recorded):
    _, first, second = recorded
    made, _, _ = synchronise(first[: 8 * dxcp.RATE], second[: 8 * dxcp.RATE])
    state = pickle.dumps(made)
    assert len(state) < 1.5e6
    pair = first[8 * dxcp.RATE : 10 * dxcp.RATE], second[8 * dxcp.RATE : 10 * dxcp.RATE]
    heir, expected, sound = synchronise(*pair, made)
    assert heir is made
    _, estimates, same = synchronise(*pair, pickle.loads(state))
    assert estimates == expected
    assert (same == sound).all()


@pytest.mark.parametrize("lag", [-100.25, -0.5, 0.0, 3.375, 250.0])
def test_peak_is_found_between_samples(lag):
    spectrum = np.exp(-2j * np.pi * np.arange(dxcp.BINS) / dxcp.FFT_SIZE * lag)
    found, clearness = dxcp.peak(spectrum, -300, 300)
    assert found == pytest.approx(lag, abs=1e-6)
    assert clearness > 50
    assert dxcp.peak(np.zeros(dxcp.BINS, complex), -300, 300)[1] == 0


def test_the_scene_is_the_sum_of_sines_at_other_instants():
    spectrum = fft.rfft(np.random.default_rng(3).standard_normal(500))
    spectrum[230:] = 0
    sound = fft.irfft(spectrum, 500)
    instants = 3.3 + 1.0007 * np.arange(200)
    lines = np.exp(2j * np.pi * np.outer(instants, np.arange(1, 251)) / 500)
    expected = (spectrum[0].real + 2 * (lines @ spectrum[1:]).real) / 500
    assert np.allclose(scene.at_instants(sound, 3.3, 1.0007, 200), expected, atol=1e-12)


def test_the_resampler_is_exact_to_90_db_while_its_step_changes():
    sound = scene.voice(60000, np.random.default_rng(4))
    sound = fft.irfft(fft.rfft(sound) * (np.arange(30001) < 27000), 60000)
    resampler = resampling.Resampler()
    found, instants = [], []
    for start, step in zip(range(0, 60000, 5000), np.linspace(0.999, 1.001, 12), strict=True):
        resampler.add(sound[start : start + 5000])
        resampler.step = step
        samples, places = resampler.read(60000)
        found.append(samples)
        instants.append(places)
    errors = []
    for samples, places in zip(found[1:-1], instants[1:-1], strict=True):
        exact = scene.at_instants(sound, places[0], (places[-1] - places[0]) / (len(places) - 1), len(places))
        errors.append(samples - exact)
    assert np.std(np.concatenate(errors)) < 10 ** (-90 / 20) * np.std(sound)
    assert np.diff(np.concatenate(instants)).min() > 0.99


def test_recordings_are_made_once(tmp_path, monkeypatch):
    made = scene.Scene(seconds=0.5)
    scene.make(tmp_path, made)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sorted(before) == ["microphone_1.wav", "microphone_2.wav", "truth.json"]
    scene.make(tmp_path, made)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    (tmp_path / scene.FILES[1]).unlink()
    scene.make(tmp_path, made)
    content = (tmp_path / scene.FILES[1]).read_bytes()
    scene.make(tmp_path, scene.Scene(seconds=0.5, time_offset_ms=-5))
    assert (tmp_path / scene.FILES[1]).read_bytes() != content


@pytest.mark.parametrize("setting", [{"seconds": 0}, {"rate_offset_ppm": 1001.0}, {"time_offset_ms": -200}])
def test_scenes_beyond_the_limits_are_refused(setting):
    with pytest.raises(DefinitionError, match=f"{next(iter(setting))} must be from"):
        scene.Scene(**setting)
