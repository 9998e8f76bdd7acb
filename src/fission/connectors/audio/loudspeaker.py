"""A sink that plays sound."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.device_stream import DTYPES, MOST_RATE, SILENCE_S, DeviceStream, device_faults, int_faults
from fission.connectors.audio.devices import DeviceAwayError, counted
from fission.connectors.audio.playing_line import PlayingLine
from fission.connectors.audio.stream_job import as_block, block_counts, report
from fission.core.audio_block import max_gap_faults
from fission.core.groups import HAS_LOUDSPEAKER
from fission.core.python_job import PythonJob
from fission.errors import DefinitionError, ValueFitError, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fission.core.base_pipe import BasePipe

#: Seconds of sound that wait here at most, beyond `delay`. Arbitrary: a few buffers of a sound server.
_ROOM_S = 0.1
#: Longest wait in seconds for the end of the sound, in `teardown`, which has 10 s; and if the network is stopped, when it has 1 s.
_DRAIN_S, _STOP_S = 5.0, 0.5
#: Seconds that a device may take longer than it says; arbitrary.
_MARGIN_S = 0.1


class LoudspeakerJob(PythonJob):
    """Plays blocks of sound with PortAudio, in their order.

    Blocks are `AudioBlock` objects, or plain arrays of shape (frames,) or (frames, channels). All must have
    the rate, channels and type of the first one. The job takes blocks as fast as the device plays
    them: its producers wait meanwhile.

    A gap (`first_sample` is higher than expected) is played as silence, up to MAX_GAP_S. After a longer
    gap, or if `first_sample` is lower than expected, the block follows at once. If blocks come too late,
    silence is played until enough are there (an underrun). Each is counted and reported on standard error.

    A device that is busy or unplugged is waited for, and so is the network. A new incarnation plays
    from the first block that was not acknowledged: some tenths of a second may be lost, or played twice.

    Args:
        device: name of the device, a part of it, or its number (`fission audio devices`). None: the
            default.
        rate: frames per second of plain arrays. None: there are only `AudioBlock` objects.
        delay: seconds of sound that wait before playing begins, so that blocks may come as late as that.
        inputs: one pipe.

    Class attributes, for subclasses to override:
        MAX_GAP_S: longest gap in seconds that is played as silence. 10 is arbitrary: longer than a
            failover.

    Attributes:
        underruns: number of times that this incarnation had nothing to play.
        silent_frames: number of frames of silence that it played for them.
        gaps: number of gaps that it played as silence.
        jumps: number of blocks that it played without the gap before them.
    """

    GROUPS = HAS_LOUDSPEAKER
    _fission_may_repeat = True
    MAX_GAP_S: float = 10.0

    def __init__(
        self,
        device: str | int | None = None,
        rate: int | None = None,
        delay: float = 0.1,
        inputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs)
        self.device = device
        self.rate = rate
        self.delay = delay
        self.underruns = self.silent_frames = self.gaps = self.jumps = 0
        self._fission_device: Any = None  # a DeviceStream
        self._fission_line: PlayingLine | None = None
        self._fission_format: tuple[float, int, str] | None = None  # rate, channels, dtype
        self._fission_lock: Any = None
        self._fission_played_at = 0.0
        self._fission_ahead_s = 0.0  # seconds until the device plays what it has taken last
        self._fission_device_underruns = 0
        self._fission_clock: Callable[[], float] = time.monotonic

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        delay: Any = self.delay
        faults.extend(device_faults(self.device))
        faults.extend(int_faults("rate", self.rate, MOST_RATE, optional=True))
        if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= 1:
            faults.append(f"delay must be a number of seconds from 0 to 1, but is {value_text(delay)}")
        if len(self.inputs) != 1 or self.inputs[0].BLOCK_COUNT != 1:
            faults.append(f"it must have one input with BLOCK_COUNT 1, but has {len(self.inputs)}{block_counts(self.inputs)}")
        return faults + max_gap_faults(self)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Look for the device.

        Raises:
            DefinitionError: sounddevice or PortAudio is not installed; or the device is not there, and the job has not run before.
        """
        super().setup(*args, **kwargs)
        self._fission_lock = threading.Condition()
        self._fission_device = device = DeviceStream(self._fission_name, "output", self.device, lambda: self._fission_clock())
        if not device.is_there and not self.__dict__.get("_fission_restarted"):
            raise DefinitionError(f"{device.missing}; see fission audio devices")

    def run(self, block: Any) -> None:
        if not self.rate and hasattr(block, "ndim"):
            raise ValueFitError(f"{self._fission_name}: blocks must be AudioBlock objects, but are arrays; or set rate")
        sound = as_block(self._fission_name, block, self.rate or 1, 0)
        samples = _playable(sound.samples.reshape(sound.frames, sound.channels))
        found = (sound.rate, sound.channels, samples.dtype.name)
        if self._fission_line is None:
            self._fission_format = found
            frames = [max(1, round(seconds * sound.rate)) for seconds in (self.delay, self.MAX_GAP_S)]
            self._fission_line = PlayingLine((sound.channels,), found[2], *frames)
        elif found != self._fission_format:
            raise ValueFitError(f"{self._fission_name}: all blocks must have {_words(self._fission_format)}, but one has {_words(found)}")
        line = self._fission_line
        with self._fission_lock:
            missing = line.put(samples, None if block is not sound else sound.first_sample)
            self._fission_report(line, sound.first_sample, missing)
        if line.ready and not self._fission_device.tried:
            self._fission_begin()
        most = round((self.delay + _ROOM_S) * sound.rate)
        self._fission_wait(lambda: line.held <= most)
        if (host := self.__dict__.get("_fission_host")) is not None:
            host.release()

    def teardown(self) -> None:
        """Play what is there."""
        line = self._fission_line
        if line is not None:
            with self._fission_lock:
                line.end()
            if not self._fission_device.tried and not self._fission_stopping:  # the whole sound is shorter than `delay`
                self._fission_begin()
            self._fission_drain(line)
        self._fission_device.close()
        super().teardown()

    def _fission_drain(self, line: PlayingLine) -> None:
        """Wait until everything is played; for a short time only if the network is stopped."""
        clock, stops = self._fission_clock, self._fission_stopping
        until = clock() + (_STOP_S if stops else _DRAIN_S)
        if not stops:
            self._fission_wait(lambda: line.held == 0 or clock() > until)
        # the device still holds that much, which not every interface plays when its stream is stopped
        with self._fission_lock:
            if self._fission_device.is_open and self._fission_lock.wait_for(lambda: line.held == 0, max(0.0, until - clock())):
                held_s = self._fission_ahead_s + _MARGIN_S
                self._fission_lock.wait_for(lambda: False, min(held_s, max(0.0, until - clock())) if stops else held_s)

    @property
    def _fission_stopping(self) -> bool:
        """Whether the network is stopped: what was not played need not be."""
        return bool(self.__dict__.get("_fission_stopped"))

    def _fission_report(self, line: PlayingLine, first_sample: int, missing: int) -> None:
        name = self._fission_name
        if line.gaps > self.gaps:
            report(name, line.gaps, f"gap of {missing} frames before frame {first_sample} played as silence")
        if line.jumps > self.jumps:
            report(name, line.jumps, f"a block begins with frame {first_sample} instead of {first_sample - missing}; played at once")
        underruns = line.underruns + self._fission_device_underruns
        if underruns > self.underruns:
            report(name, underruns, "underrun: blocks came too late, or the device was not served in time")
        self.gaps, self.jumps, self.underruns, self.silent_frames = line.gaps, line.jumps, underruns, line.silent_frames

    def _fission_wait(self, done: Callable[[], bool]) -> None:
        """Wait for the device to play; open it again if it does not."""
        while True:
            with self._fission_lock:
                if self._fission_lock.wait_for(done, SILENCE_S / 2):
                    if self._fission_device.is_open:
                        self._fission_device.works()
                    return
            now = self._fission_clock()
            if self._fission_device.is_open and now - self._fission_played_at > SILENCE_S:
                report(self._fission_name, 1, "the device plays nothing; waiting until it does")
                self._fission_device.close()
            if not self._fission_device.is_open:
                self._fission_device.reopen(self._fission_open)

    def _fission_begin(self) -> None:
        """Try to open the device for the first time, and to play.

        Raises:
            DefinitionError: it cannot have the format.
        """
        try:
            self._fission_open()
        except DeviceAwayError as why:
            self._fission_device.report_waiting(why)

    def _fission_open(self) -> None:
        line, lock, clock = self._fission_line, self._fission_lock, self._fission_clock
        assert line is not None
        assert self._fission_format is not None
        rate, channels, dtype = self._fission_format
        latency = self.delay or _MARGIN_S

        # In PortAudio's thread: whatever takes long here makes the device run out of sound.
        def wanted(out: Any, count: int, times: Any, status: Any) -> None:
            with lock:
                line.take(out)
                self._fission_played_at = clock()
                self._fission_ahead_s = min(_ROOM_S + 2 * latency, max(latency, times.outputBufferDacTime - times.currentTime))
                self._fission_device_underruns += bool(status.output_underflow)
                lock.notify_all()

        self._fission_played_at = clock()
        self._fission_device.open(rate, channels, dtype, latency=latency, callback=wanted)


def _words(found: tuple[float, int, str] | None) -> str:
    rate, channels, dtype = found or (0, 0, "")
    return f"{counted(channels)} of {dtype} at {rate:g} frames per second"


def _playable(samples: Any) -> Any:
    """Return samples of a type that PortAudio plays."""
    if samples.dtype.name == "uint8":  # centred on 128
        return (samples.astype("int16") - 128) * 256
    return samples.astype("float32") if samples.dtype.name not in DTYPES else samples
