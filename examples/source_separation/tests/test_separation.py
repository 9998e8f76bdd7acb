"""The mathematics alone."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from source_separation import separation
from source_separation.wavfile import load_recording

NETWORK = Path(separation.__file__).parent
VOICES = np.array([load_recording(NETWORK / "recordings" / f"voice_{number}.wav").samples() for number in (1, 2)])

samples = arrays(np.float64, st.tuples(st.just(2), st.integers(3, 60)), elements=st.floats(-1, 1, width=32))
cuts = st.lists(st.integers(0, 60), max_size=6)


def blocks(signal, places):
    edges = [0, *sorted(place for place in places if place < signal.shape[1]), signal.shape[1]]
    return [signal[:, a:b] for a, b in pairwise(edges)]


def second(signal):
    moments = separation.SecondMoments(len(signal))
    moments.add(signal)
    return moments


def separate(mixture, refine=True):
    moments = second(mixture)
    white = separation.whitening_matrix(moments.covariance()) @ (mixture - moments.mean())
    outputs = separation.fourth_order_rotation(second(separation.norm_weighted(white)).covariance()) @ white
    if not refine:
        return outputs
    fourth = separation.FourthMoments()
    fourth.add(outputs)
    return separation.refining_rotation(fourth.tensor()) @ outputs


def improvements(mixture, outputs, voices=VOICES):
    before, after = (second(np.vstack([channels, voices])).covariance() for channels in (mixture, outputs))
    return [result.improvement_db for result in separation.measure(before, after)]


@given(samples, cuts)
def test_moments_do_not_depend_on_the_blocks(signal, places):
    moments, fourth, powers = separation.SecondMoments(2), separation.FourthMoments(), separation.PowerSums(2)
    for block in blocks(signal, places):
        for sums in (moments, fourth, powers):
            sums.add(block)
    assert np.allclose(moments.mean(), signal.mean(axis=1, keepdims=True))
    assert np.allclose(moments.covariance(), np.cov(signal, bias=True), atol=1e-12)
    assert np.allclose(fourth.tensor(), np.einsum("in,jn,kn,ln->ijkl", *[signal] * 4) / signal.shape[1])
    variances = signal.var(axis=1)
    assume((variances > 1e-6).all())
    centred = signal - signal.mean(axis=1, keepdims=True)
    assert np.allclose(powers.kurtosis(), (centred**4).mean(axis=1) / variances**2, rtol=1e-3)


def test_kurtosis_of_silence_is_that_of_noise():
    powers = separation.PowerSums(2)
    powers.add(np.zeros((2, 10)))
    assert powers.kurtosis().tolist() == [3.0, 3.0]


@given(samples, st.floats(1e-5, 1))
def test_whitened_channels_have_unit_covariance(signal, gain):
    covariance = second(signal * [[1], [gain]]).covariance()
    assume((signal.std(axis=1) > 1e-3).all())
    scale = np.sqrt(np.diag(covariance))
    assume(np.linalg.eigvalsh(covariance / np.outer(scale, scale))[0] > 1e-6)
    matrix = separation.whitening_matrix(covariance)
    assert np.allclose(matrix @ covariance @ matrix.T, np.eye(2), atol=1e-6)
    # Each output resembles its own microphone more than it does the other one.
    likeness = matrix @ covariance / scale
    assert likeness[0, 0] >= abs(likeness[0, 1])
    assert likeness[1, 1] >= abs(likeness[1, 0])


@pytest.mark.parametrize(
    "covariance", [[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[-1e-17, 0.0], [0.0, 1.0]]]
)
def test_channels_that_are_one_sound_cannot_be_whitened(covariance):
    with pytest.raises(ValueError, match="nothing to separate"):
        separation.whitening_matrix(np.array(covariance))


@given(samples)
def test_norm_weighting_makes_a_covariance_of_fourth_order(white):
    weighted = separation.norm_weighted(white)
    assert np.allclose(weighted @ weighted.T, (white * (white**2).sum(axis=0)) @ white.T)


@given(st.floats(0, 2 * math.pi), st.floats(0.1, 10), st.floats(0.1, 10))
def test_rotations_are_rotations_with_a_fixed_sign(angle, first, second_value):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([first, second_value]) @ turn.T
    rows = separation.fourth_order_rotation(matrix)
    assert np.allclose(rows @ rows.T, np.eye(2))
    assert (rows[np.arange(2), np.abs(rows).argmax(axis=1)] > 0).all()
    diagonal = rows @ matrix @ rows.T
    assert abs(diagonal[0, 1]) < 1e-9
    assert diagonal[0, 0] >= diagonal[1, 1] - 1e-9


@given(st.floats(-math.pi / 4 + 0.01, math.pi / 4 - 0.01))
def test_refinement_finds_the_angle_where_the_kurtoses_are_equal(angle):
    # All four combinations of two equal sources: the weighted covariance is the same in every direction.
    sources = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    fourth = separation.FourthMoments()
    fourth.add(turn @ sources)
    assert np.allclose(separation.refining_rotation(fourth.tensor()) @ turn, np.eye(2), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-math.pi, math.pi), st.floats(0.05, math.pi - 0.05), st.floats(0.01, 1), st.floats(0.01, 1))
def test_any_mixture_is_separated_equally_well(angle, between, gain_1, gain_2):
    angles = np.array([angle, angle + between])
    mixture = np.array([np.cos(angles), np.sin(angles)]) * [gain_1, gain_2] @ VOICES
    covariance = second(np.vstack([separate(mixture), VOICES])).covariance()
    assert min(result.after_db for result in separation.measure(covariance, covariance)) >= 30


def test_fourth_order_covariance_alone_separates_the_recordings():
    mixture = np.array([load_recording(NETWORK / "recordings" / f"microphone_{number}.wav").samples() for number in (1, 2)])
    assert min(improvements(mixture, separate(mixture, refine=False))) >= 10


def test_measure_of_known_mixtures():
    voices = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    before = second(np.vstack([np.array([[1.0, 0.5], [1.0, 1.0]]) @ voices, voices])).covariance()
    after = second(np.vstack([np.array([[0.01, -1.0], [2.0, 0.2]]) @ voices, voices])).covariance()
    first, second_voice = separation.measure(before, after)
    assert (first.output, second_voice.output) == (1, 0)
    assert first.before_db == pytest.approx(20 * math.log10(2))
    assert first.after_db == pytest.approx(20)
    assert second_voice.before_db == pytest.approx(0, abs=1e-9)
    assert second_voice.improvement_db == pytest.approx(40)
    assert separation.explained(before) == pytest.approx(1)


def test_perfect_separation_has_a_finite_measure():
    voices = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    covariance = second(np.vstack([voices, voices])).covariance()
    assert [result.after_db for result in separation.measure(covariance, covariance)] == [120.0, 120.0]


def test_levels():
    assert separation.level_db(np.ones(5)) == 0
    assert separation.level_db(np.full(5, 0.1)) == pytest.approx(-20)
    assert separation.level_db(np.zeros(5)) == separation.level_db(np.zeros(0)) == -120


def test_report_doubts_voices_that_are_not_in_the_recordings():
    noise = np.random.default_rng(1).normal(size=(2, VOICES.shape[1]))
    covariance = second(np.vstack([noise, VOICES])).covariance()
    lines = separation.report_with_voices(["a.wav", "b.wav"], covariance, covariance, covariance)
    assert [line.split(":")[0] for line in lines[:4:2]] == ["a.wav", "b.wav"]
    assert max(map(len, lines[:4])) <= 65  # with the name of the job, a line of 80 columns
    assert lines[4] == "the clean voices make up only 0% of the recordings: are they the voices of these recordings?"


def test_report_without_voices():
    lines = separation.report_without_voices(
        np.array([[4.0, 3.0], [3.0, 4.0]]), np.array([[1.0, -1e-9], [-1e-9, 1.0]]), np.array([3.0, 4.0]), np.array([9.0, 7.5])
    )
    assert lines[:2] == ["microphones: correlation 0.750, kurtosis 3.00 and 4.00", "outputs: correlation 0.000, kurtosis 9.00 and 7.50"]
