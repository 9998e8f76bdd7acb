"""The network in one process: each call is found, once, and its clip is that part of the recording."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile

from wildlife import scene


def whole(folder):
    return np.concatenate([soundfile.read(path, dtype="int16")[0] for path in sorted(folder.glob("*.wav"))])


def test_each_call_has_a_row_and_a_clip(load_config, fission_network, tmp_path):
    names = load_config(SPEED=None, BLOCK=8000)
    ran = fission_network(names["JOBS"])
    truth = json.loads((tmp_path / "recordings" / scene.TRUTH).read_text())["calls"]
    limits = names["LIMITS"]
    for number, station in ((5, "north"), (10, "south")):
        with (ran.folders[number] / "events.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        heard = truth[station]
        assert len(rows) == len(heard) >= 8
        sound = whole(tmp_path / "recordings" / station)
        clips = sorted((ran.folders[number - 1] / "clips").iterdir())
        assert [clip.name for clip in clips] == [row["clip"] for row in rows]
        for row, call, clip in zip(rows, heard, clips, strict=True):
            start = (np.datetime64(row["time"].removesuffix("Z")) - np.datetime64(scene.BEGIN.replace(tzinfo=None))) / np.timedelta64(
                1, "s"
            )
            assert start == pytest.approx(call["start"], abs=0.06)
            assert float(row["seconds"]) == pytest.approx(call["seconds"], abs=0.12)
            low, high = map(float, row["band_hz"].split("-"))
            assert call["low"] - 150 < high
            assert low < call["high"] + 150
            assert float(row["above_db"]) > limits.on_db
            assert -40 < float(row["level_db"]) < -20
            samples, rate = soundfile.read(clip, dtype="int16")
            first, last = start - limits.before_s, start + float(row["seconds"]) + limits.after_s
            assert rate == scene.RATE
            assert (samples == sound[round(first * rate) : round(last * rate)]).all()


@pytest.mark.parametrize("block", [999, 48000])
def test_the_size_of_blocks_does_not_matter(load_config, fission_network, block):
    usual, other = (fission_network(load_config(SPEED=None, BLOCK=size)["JOBS"]) for size in (8000, block))
    for number in (5, 10):
        texts = [(ran.folders[number] / "events.csv").read_text() for ran in (usual, other)]
        assert texts[0] == texts[1]
        clips = [{path.name: path.read_bytes() for path in (ran.folders[number - 1] / "clips").iterdir()} for ran in (usual, other)]
        assert clips[0] == clips[1]


def test_a_microphone_is_heard_live(load_config, monkeypatch, tmp_path):
    monkeypatch.setenv("LIVE", "yes")
    jobs = load_config(LIVE_DEVICES={"pond": "USB"})["JOBS"]
    assert [type(job).__name__ for job in jobs] == ["MicrophoneJob", "FeaturesJob", "DetectorJob", "ClipJob", "EventCSVJob"]
    assert (jobs[0].device, jobs[0].rate, jobs[0].channels) == ("USB", 48000, 1)
    assert not (tmp_path / "recordings").exists()
