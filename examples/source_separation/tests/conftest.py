"""What the tests of source_separation share."""

from __future__ import annotations

import re
import sys
import wave
from itertools import count
from pathlib import Path

import numpy as np
import pytest

NETWORK = Path(__file__).resolve().parent.parent
PROJECT = str(NETWORK.parent)
if PROJECT not in sys.path:  # networks import each other from the project's folder
    sys.path.insert(0, PROJECT)

from fission.core.base import reset  # noqa: E402
from fission.core.jobs import CSVSinkJob  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_registry():
    """Each test makes its own jobs and pipes."""
    reset()
    yield
    reset()


@pytest.fixture
def save_wav(tmp_path):
    """Writes a WAV file into the test's folder and returns its path."""

    def save(name, data, *, channels=1, width=2, rate=8000):
        path = tmp_path / name
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(channels)
            sound.setsampwidth(width)
            sound.setframerate(rate)
            sound.writeframes(bytes(data) if isinstance(data, (bytes, bytearray)) else as_pcm(data, width))
        return path

    return save


def as_pcm(samples, width):
    if width == 1:
        return np.clip(np.rint(np.asarray(samples) * 127 + 128), 0, 255).astype(np.uint8).tobytes()
    return np.rint(np.asarray(samples) * 32767).astype("<i2").tobytes()


@pytest.fixture
def load_jobs():
    """Runs the network's config.py without a pace, and with other values for some of its settings; returns its JOBS."""

    def load(**settings):
        text = (NETWORK / "config.py").read_text("utf-8")
        for name, value in {"PACE": None, **settings}.items():
            text, found = re.subn(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value!r}": line, text)
            assert found == 1, f"{name} is not set once in config.py"
        names = {"__file__": str(NETWORK / "config.py"), "__name__": "source_separation.config"}
        reset()  # the jobs of each loading are numbered from 1
        exec(compile(text, names["__file__"], "exec"), names)
        return names["JOBS"]

    return load


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Runs jobs to their end without processes: one compute block after the other, from the sources to the sinks.

    A stand-in for the runtime that is enough for a network without HEAD, BLOCK_COUNT or optional pipes. Each job has a folder of its own.
    `between(job, number)` is called after each compute block and may return another job object to continue with.
    """

    runs = count(1)

    def run(jobs, between=None):
        jobs = list(jobs)
        base = tmp_path / f"run_{next(runs)}"
        folders = {job.id: base / str(job.id) for job in jobs}
        for job in jobs:
            folders[job.id].mkdir(parents=True)
            monkeypatch.chdir(folders[job.id])
            job.setup()
        number = 0
        finished = False
        while not finished:
            number += 1
            on_pipes = {}
            for index, job in enumerate(jobs):
                monkeypatch.chdir(folders[job.id])
                result = job.run(*(on_pipes.pop(pipe.id) for pipe in job.inputs))
                values = result if isinstance(result, tuple) else (result,) * len(job.outputs)
                assert len(values) == len(job.outputs)
                on_pipes.update({pipe.id: value for pipe, value in zip(job.outputs, values, strict=True)})
                if between is not None:
                    jobs[index] = between(job, number) or job
            assert not on_pipes
            ends = {job.finished for job in jobs if not job.inputs}
            assert len(ends) == 1, "the readers must end with the same block"
            finished = ends.pop()
        monkeypatch.chdir(tmp_path)
        for job in jobs:
            if isinstance(job, CSVSinkJob):
                job._fission_sink_file.close()  # in a network the end of its process does that
        return folders

    return run
