"""A sink that plays sound."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.devices import DeviceAwayError, Devices, quiet
from fission.connectors.audio.microphone import DTYPES, SILENCE_S, device_faults
from fission.connectors.audio.playing_line import PlayingLine
from fission.connectors.audio.stream_job import as_block, report
from fission.core.groups import HAS_LOUDSPEAKER
from fission.core.python_job import PythonJob
from fission.errors import DefinitionError, ValueFitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fission.core.base_pipe import BasePipe

#: Seconds of sound that wait here at most, beyond `delay`. Arbitrary: a few buffers of a sound server.
_ROOM_S = 0.1
#: Longest wait in seconds for the end of the sound, in `teardown`, which has 10 s.
_DRAIN_S = 5.0
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
        self._fission_devices: Any = None
        self._fission_line: PlayingLine | None = None
        self._fission_format: tuple[float, int, str] | None = None  # rate, channels, dtype
        self._fission_stream: Any = None
        self._fission_lock: Any = None
        self._fission_played_at = self._fission_tried_at = 0.0
        self._fission_ahead_s = 0.0  # seconds until the device plays what it has taken last
        self._fission_device_underruns = 0
        self._fission_clock: Callable[[], float] = time.monotonic

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        rate: Any = self.rate
        delay: Any = self.delay
        faults.extend(device_faults(self.device))
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
            faults.append(f"rate must be an int of at least 1, or None, but is {rate!r}")
        if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay <= 1:
            faults.append(f"delay must be a number of seconds from 0 to 1, but is {delay!r}")
        if len(self.inputs) != 1 or self.inputs[0].BLOCK_COUNT != 1:
            faults.append(f"it must have one input with BLOCK_COUNT 1, but has {len(self.inputs)}")
        return faults

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Look for the device.

        Raises:
            DefinitionError: sounddevice or PortAudio is not installed; or the device is not there, and the job has not run before.
        """
        super().setup(*args, **kwargs)
        self._fission_lock = threading.Condition()
        self._fission_devices = devices = Devices(self._fission_name)
        if devices.find(self.device, "output") is None and not self.__dict__.get("_fission_restarted"):
            raise DefinitionError(f"{devices.missing(self.device, 'output')}; see fission audio devices")

    def run(self, block: Any) -> None:
        if not self.rate and hasattr(block, "ndim"):
            raise ValueFitError(f"{self._fission_name}: blocks must be AudioBlock objects, but are arrays; or set rate")
        sound = as_block(self._fission_name, block, self.rate or 1, 0)
        samples = sound.samples.reshape(sound.frames, sound.channels)
        found = (sound.rate, sound.channels, samples.dtype.name)
        if self._fission_line is None:
            if found[2] not in DTYPES:
                raise ValueFitError(f"{self._fission_name}: samples must be {' or '.join(DTYPES)}, but are {found[2]}")
            self._fission_format = found
            frames = [max(1, round(seconds * sound.rate)) for seconds in (self.delay, self.MAX_GAP_S)]
            self._fission_line = PlayingLine((sound.channels,), found[2], *frames)
        elif found != self._fission_format:
            raise ValueFitError(f"{self._fission_name}: all blocks must have {_words(self._fission_format)}, but one has {_words(found)}")
        line = self._fission_line
        with self._fission_lock:
            missing = line.put(samples, None if block is not sound else sound.first_sample)
            self._fission_report(line, sound.first_sample, missing)
        if self._fission_stream is None and line.ready and not self._fission_tried_at:
            self._fission_reopen(first=True)
        most = round((self.delay + _ROOM_S) * sound.rate)
        self._fission_wait(lambda: line.held <= most)

    def teardown(self) -> None:
        """Play what is there."""
        line = self._fission_line
        if line is not None:
            with self._fission_lock:
                line.end()
            if not self._fission_tried_at:  # the whole sound is shorter than `delay`
                self._fission_reopen(first=True)
            until = self._fission_clock() + _DRAIN_S
            self._fission_wait(lambda: line.held == 0 or self._fission_clock() > until)
            # the device still holds that much, which not every interface plays when its stream is stopped
            with self._fission_lock:
                self._fission_lock.wait_for(lambda: False, self._fission_ahead_s + _MARGIN_S)
        self._fission_close()
        super().teardown()

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
                    return
            now = self._fission_clock()
            if self._fission_stream is not None and now - self._fission_played_at > SILENCE_S:
                report(self._fission_name, 1, "the device plays nothing; waiting until it does")
                self._fission_close()
            if self._fission_stream is None and now - self._fission_tried_at >= SILENCE_S:
                self._fission_reopen(first=False)

    def _fission_reopen(self, *, first: bool) -> None:
        """Try to open the device, and to play.

        Raises:
            DefinitionError: it cannot have the format.
        """
        self._fission_tried_at = self._fission_clock()
        try:
            if not first:
                self._fission_devices.refresh()
            self._fission_open()
        except DeviceAwayError as why:
            if first:
                report(self._fission_name, 1, f"{str(why).partition(': ')[2]}; trying again every {SILENCE_S:g} s")

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

        stream = self._fission_devices.open("output", self.device, rate, channels, dtype, latency=latency, callback=wanted)
        self._fission_played_at = clock()
        with quiet():
            stream.start()
        self._fission_stream = stream

    def _fission_close(self) -> None:
        stream, self._fission_stream = self._fission_stream, None
        if stream is not None:
            with quiet():
                stream.abort(ignore_errors=True)
                stream.close(ignore_errors=True)


def _words(found: tuple[float, int, str] | None) -> str:
    rate, channels, dtype = found or (0, 0, "")
    return f"{channels} channels of {dtype} at {rate:g} frames per second"
