"""A job's stream of one sound device, which is opened again when the device comes back; and what such a job checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fission.connectors.audio.devices import DeviceAwayError, Devices, Kind, end
from fission.connectors.audio.stream_job import report
from fission.errors import DefinitionError, value_text

#: Types of a sample that PortAudio has and an `AudioBlock` may have.
DTYPES = ("int16", "int32", "float32")
#: Seconds without frames after which the device counts as gone, and between two attempts to open it again. Arbitrary: far longer than
#: the buffers of sound servers, and short for a person.
SILENCE_S = 1.0
#: Largest rate and number of channels. Arbitrary: more than converters have, and small enough for all that is computed with them.
MOST_RATE, MOST_CHANNELS = 10**7, 4096


class DeviceStream:
    """One device of one job, with at most one stream.

    Attributes:
        is_open: whether there is a stream.
        devices: the devices of this machine.
    """

    def __init__(self, job: str, kind: Kind, wanted: str | int | None, clock: Callable[[], float]) -> None:
        """Prepare; nothing is opened.

        Args:
            job: name of the job, for messages.
            kind: direction.
            wanted: as for `Devices.find`.
            clock: monotonic time in seconds.
        """
        self.devices = Devices(job)
        self._job, self._kind, self._wanted, self._clock = job, kind, wanted, clock
        self._stream: Any = None
        self._tried_at = -math.inf
        self._reasons: list[str] = []  # why it could not be opened, since it worked; each is reported once

    @property
    def is_open(self) -> bool:
        return self._stream is not None

    @property
    def is_there(self) -> bool:
        """Whether this machine has the device.

        Raises:
            DefinitionError: see `Devices.find`.
        """
        return self.devices.find(self._wanted, self._kind) is not None

    @property
    def missing(self) -> str:
        """A line about a device that is not there."""
        return self.devices.missing(self._wanted, self._kind)

    @property
    def tried(self) -> bool:
        """Whether it was tried to open the device."""
        return self._tried_at > -math.inf

    def open(self, rate: float, channels: int, dtype: str, **more: Any) -> None:
        """Open the device, and start its stream.

        Raises:
            DefinitionError, DeviceAwayError: see `Devices.open`.
        """
        self._tried_at = self._clock()
        self._stream = self.devices.open(self._kind, self._wanted, rate, channels, dtype, **more)

    def works(self) -> None:
        """Note that the device records or plays: reasons why it does not are reported again."""
        self._reasons.clear()

    def reopen(self, open_it: Callable[[], None]) -> None:
        """Close the stream, and try to open the device with `open_it`, at most every `SILENCE_S`; report why it cannot be opened.

        Args:
            open_it: calls `open`.
        """
        self.close()
        if self._clock() - self._tried_at < SILENCE_S:
            return
        self._tried_at = self._clock()
        try:
            self.devices.refresh()
            open_it()
        except (DeviceAwayError, DefinitionError) as why:  # it may be back later, as it was
            self.report_waiting(why)

    def report_waiting(self, why: Exception) -> None:
        """Report that the device is waited for, unless it has been for the same reason."""
        text = str(why).removeprefix(f"{self._job}: ")
        if text not in self._reasons:
            self._reasons.append(text)
            report(self._job, 1, f"{text}; trying again every {SILENCE_S:g} s")

    def close(self) -> None:
        """End the stream. Idempotent."""
        stream, self._stream = self._stream, None
        end(stream)


def device_faults(device: Any) -> list[str]:
    """Return what is wrong with a `device` of a job."""
    if device is None or (isinstance(device, str) and device.strip()):
        return []
    if isinstance(device, int) and not isinstance(device, bool) and device >= 0:
        return []
    return [
        f"device must be a name or a part of it, a number of at least 0, or None, but is {value_text(device)}; see fission audio devices"
    ]


def int_faults(name: str, value: Any, most: int, *, optional: bool = False) -> list[str]:
    """Return what is wrong with an int from 1 to `most`; None is right too if it is optional."""
    if (optional and value is None) or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most):
        return []
    return [f"{name} must be an int from 1 to {most}{', or None' if optional else ''}, but is {value_text(value)}"]
