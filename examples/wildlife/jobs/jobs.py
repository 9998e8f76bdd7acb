"""The jobs of wildlife: thin shells around detector.py and recordings.py."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from fission.connectors.audio import AudioBlock
from fission.core.jobs import CSVSinkJob, LocalJob, PythonJob
from fission.errors import DefinitionError

from wildlife import detector, recordings

FINISHED = 2  # bit of a head: the source has called finish() with this block


class FolderJob(PythonJob):
    """A microphone that was recorded: sends the files of a folder, in the order of their names, as one stream.

    Args:
        folder: path of the folder on the job's node.
        block: samples in a block; the last one of a file may be shorter.
        speed: how many times as fast as a microphone would; None: as fast as the blocks are accepted.

    Raises:
        DefinitionError: `block` is not an integer of at least 1, or `speed` is neither None nor a number above 0.
    """

    CHECKPOINT = 50
    DEPENDENCIES = [recordings]

    def __init__(self, folder: str | Path, block: int, speed: float | None = None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(block, bool) or not isinstance(block, int) or block < 1:
            raise DefinitionError(f"block must be an integer of at least 1, but is {block!r}")
        if speed is not None and (isinstance(speed, bool) or not isinstance(speed, (int, float)) or not speed > 0):
            raise DefinitionError(f"speed must be None or a number above 0, but is {speed!r}")
        self.folder, self.block, self.speed = Path(folder), block, speed

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.files, self.rate = recordings.stream_of(self.folder)
        self.place = (0, 0)  # the next block: number of the file, and of the sample in it
        self.opened = None
        self.due = time.monotonic()

    # Of all attributes, a new incarnation needs the place; the files are where they were.
    def snapshot(self):
        return self.place

    def restore(self, state):
        self.close()
        self.place = state

    def run(self):
        number, start = self.place
        file = self.files[number]
        if self.opened is None:
            self.opened = recordings.opened(file.path)
            self.opened.seek(start)
        samples = recordings.read(self.opened, file, self.block)
        self.place = (number, start + len(samples))
        if start + len(samples) >= file.frames:
            self.place = (number + 1, 0)
            self.close()
            if number + 1 == len(self.files):
                self.finish()
        self.wait(len(samples))
        taken = None if file.time is None else file.time + start / self.rate
        return AudioBlock(samples, self.rate, file.first_sample + start, taken)

    def wait(self, samples):
        """Wait until the block is due. Time lost to a slow consumer is not made up for."""
        if self.speed is not None:
            now = time.monotonic()
            self.due = max(self.due + samples / self.rate / self.speed, now)
            time.sleep(self.due - now)

    def close(self):
        if self.opened is not None:
            self.opened.close()
            self.opened = None

    def teardown(self):
        self.close()
        super().teardown()


class FeaturesJob(PythonJob):
    """Measures level and band energies of each hop of 20 ms.

    Args:
        bands: lowest and highest frequency of each band in Hz.

    Raises:
        DefinitionError: there is no band, or one is not two frequencies, the lower one first.
    """

    CHECKPOINT = 50
    DEPENDENCIES = [detector]

    def __init__(self, bands: tuple[tuple[float, float], ...], **kwargs):
        super().__init__(**kwargs)
        try:
            fit = bool(bands) and all(0 <= low < high for low, high in bands)
        except (TypeError, ValueError):
            fit = False
        if not fit:
            raise DefinitionError(f"bands must be pairs of frequencies in Hz, the lower one first, but is {bands!r}")
        self.bands = bands

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.rest = None  # samples that are no whole hop yet, as a block

    def run(self, block):
        rest = self.rest
        if rest is None or rest.end != block.first_sample:
            rest = AudioBlock(block.samples[:0], block.rate, block.first_sample, block.time)
        samples = np.concatenate([rest.samples, block.samples])
        hop = round(detector.HOP_S * block.rate)
        whole = len(samples) // hop * hop
        level, bands = detector.levels(samples[:whole] / 32768, hop, block.rate, self.bands)
        later = None if rest.time is None else rest.time + whole / block.rate
        self.rest = AudioBlock(samples[whole:].copy(), block.rate, rest.first_sample + whole, later)
        return detector.Features(rest.first_sample, hop, block.rate, rest.time, level, bands)


class DetectorJob(PythonJob):
    """Finds events in the levels. Outputs a `Detection` for each block."""

    CHECKPOINT = 50
    HEAD = True  # to see that a block is the last one
    DEPENDENCIES = [detector]

    def __init__(self, limits: detector.Limits, **kwargs):
        super().__init__(**kwargs)
        self.detector = detector.Detector(limits)

    def run(self, features):
        return self.detector.add(features, last=bool(self.head[FINISHED]))


class ClipJob(LocalJob, PythonJob):
    """Writes a WAV file for each event, on the client.

    A clip's name and bytes depend on the sound alone, and it appears whole or not at all: a new incarnation that receives the same
    blocks again writes the same files.

    Inputs: the sound, and what the detector says about each of its blocks.

    Args:
        station: first part of the clips' names.
        limits: how much a clip has before and after its event.
    """

    CHECKPOINT = 50
    DEPENDENCIES = [detector, recordings]

    def __init__(self, station: str, limits: detector.Limits, **kwargs):
        super().__init__(**kwargs)
        self.station, self.limits = station, limits

    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.blocks: list[AudioBlock] = []  # the sound that an event may still need
        self.full = False  # whether the user knows that the disk is full
        Path("clips").mkdir(exist_ok=True)

    def run(self, block, detection):
        self.blocks.append(block)
        for event in detection.events:
            self.write(event, block.rate)
        self.blocks = [kept for kept in self.blocks if kept.end > detection.keep_from]

    def write(self, event, rate):
        start = event.start - round(self.limits.before_s * rate)
        end = event.end + round(self.limits.after_s * rate)
        around = [block for block in self.blocks if block.end > start and block.first_sample < end]
        # Where the sound has a gap, the clip begins or ends there.
        for number in range(len(around) - 1, 0, -1):
            if around[number - 1].end != around[number].first_sample:
                around = around[number:] if around[number].first_sample <= event.start else around[:number]
        first = around[0].first_sample
        samples = np.concatenate([block.samples for block in around])[max(0, start - first) : end - first]
        path = Path("clips") / recordings.clip_name(self.station, event.time, event.start)
        content = io.BytesIO()
        soundfile.write(content, samples, int(rate), subtype="PCM_16", format="WAV")
        while not self.stored(path, content.getbuffer()):
            time.sleep(1.0)  # meanwhile the jobs before this one wait: nothing is lost
        print(f"{path.name}: {event.seconds:.2f} s")

    def stored(self, path, content):
        """Return whether the clip is there, as a whole; False while the disk is full."""
        unfinished = path.with_suffix(".part")
        try:
            unfinished.write_bytes(content)
        except OSError as why:
            if why.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not self.full:
                print(f"the disk is full: {path.name} is written when there is room for its {len(content)} bytes", file=sys.stderr)
            self.full = True
            return False
        self.full = False
        os.replace(unfinished, path)
        return True


class EventCSVJob(CSVSinkJob):
    """Writes a row for each event, on the client.

    Args:
        path: of the file.
        station: first part of the clips' names.
        bands: lowest and highest frequency of each band in Hz.
    """

    DEPENDENCIES = [recordings]

    def __init__(self, path, station: str, bands: tuple[tuple[float, float], ...], **kwargs):
        super().__init__(path, **kwargs)
        self.station, self.bands = station, bands

    def columns(self):
        return ["clip", "time", "seconds", "level_db", "band_hz", "above_db"]

    def rows(self, detection):
        return [
            [
                recordings.clip_name(self.station, event.time, event.start),
                "" if event.time is None else recordings.utc(event.time),
                f"{event.seconds:.2f}",
                f"{event.level_db:.1f}",
                "{:g}-{:g}".format(*self.bands[event.band]),
                f"{event.above_db:.1f}",
            ]
            for event in detection.events
        ]
