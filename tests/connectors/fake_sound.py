"""A module that stands for sounddevice: devices that are busy, lack a format or lose frames at a known place cannot be made here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FakeStream(SimpleNamespace):
    """A stream, with the arguments that it was opened with."""

    state = "open"

    def start(self) -> None:
        if self.start_fault is not None:
            raise self.start_fault
        self.state = "started"

    def abort(self, ignore_errors: bool = True) -> None:
        self.state = "aborted"

    def close(self, ignore_errors: bool = True) -> None:
        self.state = "closed"

    def hears(self, samples: Any, age: float = 0.01, overrun: bool = False) -> None:
        """Call back with frames, the first of which is ``age`` seconds old."""
        times = SimpleNamespace(currentTime=100.0 + age, inputBufferAdcTime=100.0)
        self.callback(samples, len(samples), times, SimpleNamespace(input_overflow=overrun))


class PortAudioError(Exception):
    pass


class FakeLibrary(SimpleNamespace):
    """Stands for the module.

    Attributes:
        devices: (name, inputs, outputs) of each device; a name of bytes is decoded as UTF-8.
        fault: what opening a stream raises; None: nothing.
        start_fault: what starting a stream raises; None: nothing.
        begin_fault: what initialising PortAudio raises; None: nothing. Then there are no devices.
        streams: those that were opened.
        starts: that PortAudio was initialised or terminated, in order.
    """

    PortAudioError = PortAudioError

    def __init__(self, *devices: tuple[str | bytes, int, int], fault: Exception | None = None) -> None:
        super().__init__(devices=devices, fault=fault, starts=[], streams=[], _initialize=self.begin, _terminate=self.end)
        self.start_fault: Exception | None = None
        self.begin_fault: Exception | None = None
        self.default = SimpleNamespace(device=(self._first(1), self._first(2)))

    def _first(self, place: int) -> int:
        return next((number for number, device in enumerate(self.devices) if device[place]), -1)

    def query_hostapis(self) -> list[dict[str, Any]]:
        if self.begin_fault is not None:
            raise PortAudioError("PortAudio not initialized", -10000)
        return [{"name": "ALSA"}]

    def query_devices(self, number: int) -> dict[str, Any]:
        if number >= len(self.devices):
            raise PortAudioError(f"Error querying device {number}")
        device = self.devices[number]
        if isinstance(device[0], bytes):
            device[0].decode()  # as sounddevice does
        keys = ("name", "max_input_channels", "max_output_channels")
        return {**dict(zip(keys, device, strict=True)), "index": number, "hostapi": 0, "default_samplerate": 48000.0}

    def InputStream(self, **arguments: Any) -> FakeStream:
        if self.fault is not None:
            raise self.fault
        self.streams.append(FakeStream(start_fault=self.start_fault, **arguments))
        return self.streams[-1]

    OutputStream = InputStream

    def begin(self) -> None:
        """Stand for `sounddevice._initialize`."""
        if self.begin_fault is not None:
            raise self.begin_fault
        self.starts.append("begins")

    def end(self) -> None:
        """Stand for `sounddevice._terminate`."""
        self.starts.append("ends")
