"""A source that records sound."""

from __future__ import annotations

import queue
import time
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.device_stream import DTYPES, MOST_CHANNELS, MOST_RATE, SILENCE_S, DeviceStream, device_faults, int_faults
from fission.connectors.audio.devices import DeviceAwayError
from fission.connectors.audio.recording_line import RecordingLine, RecordingPosition
from fission.connectors.audio.stream_job import report
from fission.core.audio_block import AudioBlock, max_gap_faults
from fission.core.groups import HAS_MIC
from fission.core.head import CORRUPTED
from fission.core.python_job import PythonJob
from fission.errors import DefinitionError, NodeFault, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fission.core.base_pipe import BasePipe

#: Seconds of sound that wait for the job, before frames are dropped; also of the longest block. Arbitrary: longer than a failover of a
#: consumer.
BUFFER_S = 10.0
#: Seconds that a device that is gone may still have had frames for; arbitrary, as the buffers of sound servers.
_LATE_S = 0.1


class MicrophoneJob(PythonJob):
    """Records sound with PortAudio, and sends it as `AudioBlock` objects, all of one length.

    `first_sample` of the first block is its `time` times `rate`, rounded: frames are numbered since
    1970. From then on frames are counted. `time`, which is also
    `block_time`, is when the block's first frame was taken.

    Lost frames are replaced by zeros, so that the number of a frame always says when it was taken. They are
    lost if the device reports an overrun, if it gives no frames for a second (it is unplugged, or its
    sound server has ended), if BUFFER_S seconds of sound wait for this job, or if its process or node
    dies. A block that contains such zeros is a declared dummy: bit 0 of its head (corrupted) is set.
    Each such gap is counted, and reported on standard error.

    The first block is sent when 0.1 s of sound is there, and its number is stored.

    A device that is gone is opened again as soon as it is back; meanwhile, dummies are sent in time. One that
    is busy when the job starts is waited for. One that is not there, or does not have the rate or the
    channels, ends the network. A new incarnation waits for it instead, and leaves a machine
    without any microphone.

    Args:
        device: name of the device, a part of it, or its number (`fission audio devices`). None: the
            default.
        rate: frames per second, which the device must support.
        channels: samples in a frame. 1: samples have the shape (frames,).
        block: frames in a block.
        dtype: type of a sample: "int16", "int32" or "float32".
        outputs: as for every job.

    Class attributes, for subclasses to override:
        MAX_GAP_S: longest gap in seconds that is filled; of a longer one, that much is, and the next
            `first_sample` shows the rest. 60 is arbitrary: longer than a failover.

    Attributes:
        gaps: number of times that this incarnation lost frames.
        filled_frames: number of frames that it replaced by zeros.
        overruns: number of overruns that the device has reported.
    """

    BLOCK_TIME = True  # when a block's first frame was taken
    GROUPS = HAS_MIC
    CHECKPOINT = timedelta(seconds=1)
    HEAD = True  # to declare dummies
    MAX_GAP_S: float = 60.0

    def __init__(
        self,
        device: str | int | None = None,
        rate: int = 16000,
        channels: int = 1,
        block: int = 160,
        dtype: str = "int16",
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(outputs=outputs)
        self.device = device
        self.rate = rate
        self.channels = channels
        self.block = block
        self.dtype = dtype
        self.gaps = self.filled_frames = self.overruns = 0
        self._fission_device: Any = None  # a DeviceStream
        self._fission_line: Any = None
        self._fission_frames: Any = None  # the queue between PortAudio's thread and the job
        self._fission_wait_s = 0.0
        self._fission_filled = -1  # frames that were replaced when the device went; below 0: it is there
        self._fission_opened = 0  # number of streams so far
        self._fission_clock: Callable[[], float] = time.monotonic
        self._fission_wall: Callable[[], float] = time.time

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        dtype: Any = self.dtype
        wrong = int_faults("rate", self.rate, MOST_RATE)
        most = MOST_RATE if wrong else max(1, round(BUFFER_S * self.rate))
        faults.extend([*wrong, *int_faults("channels", self.channels, MOST_CHANNELS)])
        if block := int_faults("block", self.block, most):
            faults.append(block[0] if wrong else f"{block[0]}; a block has at most {BUFFER_S:g} s of sound")
        faults.extend(device_faults(self.device))
        if getattr(dtype, "name", dtype if isinstance(dtype, str) else None) not in DTYPES:
            faults.append(f"dtype must be one of {', '.join(DTYPES)}, but is {value_text(dtype)}")
        return faults + max_gap_faults(self)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Open the device.

        Raises:
            DefinitionError: sounddevice or PortAudio is not installed; or the device is not there, or cannot have the format. The
                last two are waited for when the job has run before.
        """
        super().setup(*args, **kwargs)
        shape = () if self.channels == 1 else (self.channels,)
        self._fission_line = RecordingLine(self.rate, self.block, shape, self.dtype, self.MAX_GAP_S)
        self._fission_frames = queue.SimpleQueue()
        self._fission_device = device = DeviceStream(self._fission_name, "input", self.device, lambda: self._fission_clock())
        self._fission_wait_s = max(SILENCE_S, 4 * self.block / self.rate)
        missing = not device.is_there
        try:
            self._fission_open()
        except (DeviceAwayError, DefinitionError) as why:
            if not self.__dict__.get("_fission_restarted") and (missing or isinstance(why, DefinitionError)):
                raise DefinitionError(f"{why}; see fission audio devices") from None
            device.report_waiting(why)

    def _fission_begins_once(self) -> bool:
        """Wait for the first frames, if the device is there: their number must be known before any block is sent."""
        while not self._fission_line.begun and self._fission_device.is_open and self._fission_receive(self._fission_wait_s):
            pass
        return True

    def snapshot(self) -> Any:
        """Return where the recording is."""
        position = self._fission_line.position(boot())
        return None if position is None else astuple(position)

    def restore(self, state: Any) -> None:
        """Continue the recording of an earlier incarnation: what has been missed since is a gap.

        Raises:
            NodeFault: this is another machine, and it has no microphone.
        """
        if state is None:
            return
        position, here = RecordingPosition(*state), boot()
        self._fission_line.continue_from(position, self._fission_clock(), self._fission_wall(), here)
        if position.boot != here and not any(device.inputs for device in self._fission_device.devices.all()):
            raise NodeFault(self._fission_device.missing)

    def run(self) -> AudioBlock:
        line = self._fission_line
        while (taken := line.take()) is None:
            if not self._fission_receive(self._fission_patience()):
                self._fission_gone()
        if taken.replaced and self.head is not None:
            self.head[CORRUPTED] = True
        self.block_time = taken.time
        return AudioBlock(taken.samples, self.rate, taken.number, taken.time)

    def teardown(self) -> None:
        self._fission_device.close()
        super().teardown()

    def _fission_receive(self, timeout: float) -> bool:
        """Take what the device gives; return whether it is still there."""
        try:
            stream, *arrived = self._fission_frames.get(timeout=timeout)
        except queue.Empty:
            return False
        if arrived:
            self._fission_add(*arrived)
        return bool(arrived) or stream != self._fission_opened  # otherwise PortAudio has ended it

    def _fission_patience(self) -> float:
        """Return for how many seconds frames are waited for."""
        if self._fission_device.is_open or not self._fission_line.begun:
            return self._fission_wait_s
        return max(0.001, min(self._fission_wait_s, self.block / self.rate))

    def _fission_add(self, samples: Any, taken: float, wall: float, overrun: bool, dropped: int) -> None:
        self.overruns += overrun
        self._fission_device.works()
        lost = self._fission_line.add(samples, taken, wall, overrun=overrun, dropped=dropped)
        why = "this job is too slow" if dropped else "the device had an overrun" if overrun else "the device or the job was away"
        self._fission_count(f"{lost} frames lost ({why}), replaced by zeros in declared dummies")
        if self._fission_filled >= 0:
            filled, self._fission_filled = self.filled_frames - self._fission_filled, -1
            report(self._fission_name, 1, f"the device gives sound again; {filled} frames were replaced by zeros in declared dummies")

    def _fission_count(self, text: str) -> None:
        self.filled_frames = self._fission_line.filled_frames
        if self._fission_line.gaps > self.gaps:
            self.gaps = self._fission_line.gaps
            report(self._fission_name, self.gaps, text)

    def _fission_open(self) -> None:
        """Open the device and start to record.

        Raises:
            DefinitionError, DeviceAwayError: see `Devices.open`.
        """
        frames, clock, wall = self._fission_frames, self._fission_clock, self._fission_wall
        most = max(2, round(BUFFER_S * self.rate / self.block))
        one, dropped, rate = self.channels == 1, 0, self.rate
        self._fission_opened += 1
        number = self._fission_opened

        # In PortAudio's thread: whatever takes long here makes the device lose frames.
        def arrived(samples: Any, count: int, times: Any, status: Any) -> None:
            nonlocal dropped
            if frames.qsize() >= most:
                dropped += count
                return
            age = times.currentTime - times.inputBufferAdcTime
            if not 0 < age < BUFFER_S:  # some interfaces do not know it
                age = count / rate
            now, data = clock(), samples[:, 0] if one else samples
            frames.put((number, data.copy(), now - age, wall() - age, bool(status.input_overflow), dropped))
            dropped = 0

        self._fission_device.open(
            self.rate,
            self.channels,
            str(self.dtype),
            blocksize=self.block,
            latency="low",
            callback=arrived,
            finished_callback=lambda: frames.put((number,)),
        )

    def _fission_gone(self) -> None:
        """Replace what is missing, and try to open the device again."""
        line, device = self._fission_line, self._fission_device
        device.close()
        filled = line.filled_frames
        line.gone(self._fission_clock() - _LATE_S)
        self._fission_count("the device gives no sound; declared dummies are sent until it does")
        if line.begun and self._fission_filled < 0:
            self._fission_filled = filled
        if not line.begun:
            device.report_waiting(DeviceAwayError("the device must give sound, but gives none"))
        device.reopen(self._fission_open)


def boot() -> str:
    """Return the identity of what this machine's monotonic clock counts from."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
