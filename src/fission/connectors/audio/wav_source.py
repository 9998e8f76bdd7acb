"""A source that reads a file of sound."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.needs import needed
from fission.connectors.audio.sound_files import cut_off, explained, identity, native_dtype, open_sound, seeks_exactly
from fission.core.audio_block import AudioBlock
from fission.core.python_job import PythonJob
from fission.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fission.core.base_pipe import BasePipe

#: dtypes to which every file can be converted.
_DTYPES = ("float32", "float64")


class WavSourceJob(PythonJob):
    """Sends the sound of a WAV, FLAC or OGG file as `AudioBlock` objects.

    All blocks have the same number of frames; only the last one may have fewer. After a failure the
    job continues with the next sample: none is lost and none is sent twice.

    A WAV or OGG file that is cut off is sent as far as it goes, and a line on standard error says
    what is missing. A file that changes while it is read, or can no longer be decoded, is an error.

    Args:
        path: path of the file on the job's node, relative to the job's folder.
        block: frames in a block, at least 1.
        loop: whether to start over at the end, for ever; `first_sample` continues to count.
        realtime: whether to send each block when a microphone would: when its last frame is due.
            Otherwise blocks are sent as fast as they are accepted.
        dtype: type of the samples: "float32" or "float64", with full scale at 1.0. None: the type
            that holds them exactly: int16 for up to 16 bits, int32 for 24 and 32 bits (24 bits are on
            top), else float32 or float64.
        start: `time` of the file's first frame, in seconds since 1970-01-01 UTC. None: the time when
            the job starts for the first time.
        outputs: as for every job.
    """

    CHECKPOINT = timedelta(seconds=1)

    def __init__(
        self,
        path: str | os.PathLike[str],
        block: int = 1024,
        loop: bool = False,
        realtime: bool = False,
        dtype: str | None = None,
        start: float | None = None,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.path = path
        self.block = block
        self.loop = loop
        self.realtime = realtime
        self.dtype = dtype
        self.start = start
        self.next_sample = 0
        self._fission_sound: Any = None
        self._fission_ahead: Any = None  # the samples of the next block
        self._fission_frames = 0  # of the file
        self._fission_clock: Callable[[], float] = time.monotonic
        self._fission_sleep: Callable[[float], None] = time.sleep

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        path: Any = self.path
        block: Any = self.block
        start: Any = self.start
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            faults.append(f"path must be the path of a file, but is {path!r}")
        if isinstance(block, bool) or not isinstance(block, int) or block < 1:
            faults.append(f"block must be an int of at least 1, but is {block!r}")
        if self.dtype not in (None, *_DTYPES):
            faults.append(f"dtype must be None, {' or '.join(_DTYPES)}, but is {self.dtype!r}")
        if start is not None and (isinstance(start, bool) or not isinstance(start, (int, float))):
            faults.append(f"start must be a number of seconds since 1970, or None, but is {start!r}")
        return faults

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Open the file.

        Raises:
            DefinitionError: it cannot be read; the message says why.
        """
        super().setup(*args, **kwargs)
        name, path = self._fission_name, Path(self.path)
        self._fission_sound = sound = open_sound(name, path)
        self._fission_frames = sound.frames
        self._fission_identity = identity(path)
        self._fission_dtype = self.dtype or native_dtype(sound)
        if missing := cut_off(path):
            self._fission_report_cut(missing)
        if self.start is None:
            self.start = time.time()
        self._fission_go_to(0)

    def _fission_begins_once(self) -> bool:
        """Whether `start` is the present."""
        return True

    def snapshot(self) -> Any:
        """Return the position."""
        return {
            "next_sample": self.next_sample,
            "start": self.start,
            "bytes": self._fission_identity[0],
            "frames": self._fission_frames,
        }

    def restore(self, state: Any) -> None:
        """Continue at the position of a snapshot.

        Raises:
            DefinitionError: the file has another size than when the snapshot was taken.
        """
        if state["bytes"] != self._fission_identity[0]:
            self._fission_refuse(state["bytes"])
        self.start = state["start"]
        self._fission_frames = state["frames"]
        self._fission_go_to(state["next_sample"])

    def run(self, *args: Any) -> AudioBlock:
        sound, samples, first = self._fission_sound, self._fission_ahead, self.next_sample
        self.next_sample += len(samples)
        # one block ahead, because the last block has to be known as such
        self._fission_ahead = self._fission_read()
        if not len(self._fission_ahead):
            self.finish()
            if not self.loop and self.next_sample < sound.frames < 1 << 62:  # beyond: the header does not say
                self._fission_report_cut(f"its header says {sound.frames} frames, but {self.next_sample} are there")
        if self.realtime:
            self._fission_wait()
        assert self.start is not None
        return AudioBlock(samples, sound.samplerate, first, self.start + first / sound.samplerate)

    def teardown(self) -> None:
        self._fission_sound.close()
        super().teardown()

    def _fission_go_to(self, sample: int) -> None:
        """Read the block that begins with this sample of the stream."""
        sound = self._fission_sound
        self.next_sample = sample
        place = sample % self._fission_frames if self.loop else sample
        if seeks_exactly(sound):
            sound.seek(place)
        else:
            sound.seek(0)
            while place > 0:
                place -= len(sound.read(min(place, 1 << 16), dtype=self._fission_dtype)) or place
        self._fission_begun = self._fission_clock() - sample / sound.samplerate
        self._fission_ahead = self._fission_read()

    def _fission_read(self) -> Any:
        """Return the next frames: a block, fewer at the end of the file, or none after it."""
        sound = self._fission_sound
        if identity(Path(self.path)) != self._fission_identity:
            self._fission_refuse(self._fission_identity[0])
        shape = (self.block,) if sound.channels == 1 else (self.block, sound.channels)
        samples = self.new_array(shape, self._fission_dtype)
        have, rewound = 0, False
        while have < self.block:
            try:
                count = len(sound.read(out=samples[have:]))
            except needed(self._fission_name, "soundfile").LibsndfileError as why:
                text = f"cannot be decoded after frame {self.next_sample + have}: {explained(why)}"
                raise DefinitionError(f"{self._fission_name}: {os.fspath(self.path)!r} {text}") from None
            have += count
            if not count:
                if not self.loop or rewound:
                    break
                self._fission_frames = sound.tell()  # fewer than the header says, if the file is cut off
                sound.seek(0)
            rewound = not count
        return samples if have == self.block else samples[:have]

    def _fission_wait(self) -> None:
        wait = self._fission_begun + self.next_sample / self._fission_sound.samplerate - self._fission_clock()
        if wait > 0:
            self._fission_sleep(wait)

    def _fission_refuse(self, expected: int) -> None:
        size = identity(Path(self.path))[0]
        what = "is gone" if size < 0 else f"has {size} bytes instead of {expected}" if size != expected else "was written to"
        raise DefinitionError(
            f"{self._fission_name}: {os.fspath(self.path)!r} must not change while it is read, but {what}; read a copy that stays as it is"
        )

    def _fission_report_cut(self, what: str) -> None:
        sys.stderr.write(f"{self._fission_name}: {os.fspath(self.path)!r} is cut off: {what}; what is there is sent\n")
