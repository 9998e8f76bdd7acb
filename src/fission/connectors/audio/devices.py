"""The sound devices of this machine, as PortAudio lists them, and what opening one can fail with."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fission.connectors.audio.needs import needed
from fission.errors import DefinitionError

Kind = Literal["input", "output"]

#: Errors of PortAudio that say that the device cannot have this format (portaudio.h): invalid sample rate, invalid number of channels,
#: sample format not supported.
_BAD_FORMAT = (-9997, -9998, -9994)
#: How many devices a message lists; arbitrary, so that it stays a line.
_MOST_LISTED = 6


@dataclass(frozen=True)
class SoundDevice:
    """One device.

    Attributes:
        number: PortAudio's number, which may change when a device is plugged in.
        name: PortAudio's name, with its interface, such as ``default, ALSA``.
        inputs: largest number of channels that can be recorded; 0: it cannot record.
        outputs: largest number of channels that can be played; 0: it cannot play.
        rate: frames per second that it has by default.
        default_input: whether it is the default microphone.
        default_output: whether it is the default loudspeaker.
    """

    number: int
    name: str
    inputs: int
    outputs: int
    rate: float
    default_input: bool
    default_output: bool

    def channels(self, kind: Kind) -> int:
        """Return the largest number of channels in one direction."""
        return self.inputs if kind == "input" else self.outputs


class DeviceAwayError(Exception):
    """The device cannot be opened now, but may be later: it is busy, unplugged, or its sound server is not there.

    The text says which, as one line.
    """


class Devices:
    """PortAudio in this process.

    PortAudio is loaded and initialised by the first call, not before: its handles and threads do not survive a fork. It lists devices
    only while it is initialised, so one that was plugged in later is found after `refresh`.
    """

    def __init__(self, who: str, library: Any = None) -> None:
        """Prepare.

        Args:
            who: name of the job or command, for messages.
            library: stands for the module sounddevice in tests.
        """
        self._who, self._library = who, library

    @property
    def library(self) -> Any:
        """The module sounddevice.

        Raises:
            DefinitionError: it, or PortAudio, is not installed.
        """
        if self._library is None:
            inherited = "sounddevice" in sys.modules  # from the process that this one was forked from, by PRELOAD
            self._library = needed(self._who, "sounddevice")
            silence_alsa()
            if inherited:
                self.refresh()
        return self._library

    def refresh(self) -> None:
        """Find the devices that there are now. No stream of this process may be open.

        Raises:
            DeviceAwayError: PortAudio does not start, so that there are none.
        """
        library = self.library
        try:
            with quiet():
                with contextlib.suppress(library.PortAudioError):
                    library._terminate()
                library._initialize()
        except library.PortAudioError as why:
            raise DeviceAwayError(f"{self._who}: PortAudio must start, but does not: {explained(why)}") from None

    def all(self) -> list[SoundDevice]:
        """Return all devices, by number; none if PortAudio did not start.

        A device whose name is not UTF-8 is left out: sounddevice cannot open it.

        Raises:
            DefinitionError: see `library`.
        """
        library = self.library
        found, number = [], 0
        try:
            with quiet():
                interfaces = [api["name"] for api in library.query_hostapis()]
                first, last = library.default.device
                while True:  # until there is none with that number
                    with contextlib.suppress(UnicodeDecodeError):
                        found.append(library.query_devices(number))
                    number += 1
        except library.PortAudioError:
            if not number:
                return []
        return [
            SoundDevice(
                each["index"],
                f"{each['name']}, {interfaces[each['hostapi']]}",
                each["max_input_channels"],
                each["max_output_channels"],
                each["default_samplerate"],
                each["index"] == first,
                each["index"] == last,
            )
            for each in found
        ]

    def find(self, wanted: str | int | None, kind: Kind) -> SoundDevice | None:
        """Return the device that a job means; None if it is not there now.

        Args:
            wanted: number, name, or a part of the name, whatever its case; None: the default.
            kind: direction that it must have.

        Raises:
            DefinitionError: a part of a name fits several devices.
        """
        usable = [device for device in self.all() if device.channels(kind)]
        if wanted is None:
            return next((device for device in usable if (device.default_input if kind == "input" else device.default_output)), None)
        if isinstance(wanted, int):
            return next((device for device in usable if device.number == wanted), None)
        whole = [device for device in usable if wanted.lower() in (device.name.lower(), device.name.rpartition(", ")[0].lower())]
        fitting = whole or [device for device in usable if wanted.lower() in device.name.lower()]
        if len(fitting) > 1:
            raise DefinitionError(
                f"{self._who}: device must be the name of one device, but {wanted!r} fits several: "
                f"{listed(fitting)}; write more of the name, or the number"
            )
        return fitting[0] if fitting else None

    def missing(self, wanted: str | int | None, kind: Kind) -> str:
        """Return a line about a device that is not there."""
        what = "microphone" if kind == "input" else "loudspeaker"
        usable = [device for device in self.all() if device.channels(kind)]
        there = f"there are: {listed(usable)}" if usable else "there is none"
        asked = f"a default {what}" if wanted is None else f"the {what} {wanted!r}"
        if wanted is not None:
            other: Kind = "output" if kind == "input" else "input"
            with contextlib.suppress(DefinitionError):
                found = self.find(wanted, other)
                if found is not None:
                    there = f"{found.number} {found.name!r} only {'plays' if kind == 'input' else 'records'}; {there}"
        return f"{self._who}: this machine must have {asked}, but {there}"

    def open(self, kind: Kind, wanted: str | int | None, rate: float, channels: int, dtype: str, **more: Any) -> Any:
        """Return a stream of sounddevice, which is started.

        Args:
            kind: direction.
            wanted: as for `find`.
            rate: frames per second.
            channels: number of channels.
            dtype: type of the samples.
            more: further arguments of `sounddevice.InputStream` or `OutputStream`.

        Raises:
            DefinitionError: the device can have no such format.
            DeviceAwayError: it is not there, or busy.
        """
        library = self.library
        device = self.find(wanted, kind)
        if device is None:
            raise DeviceAwayError(self.missing(wanted, kind))
        what = f"{'microphone' if kind == 'input' else 'loudspeaker'} {device.name!r}"
        if channels > device.channels(kind):
            raise DefinitionError(f"{self._who}: channels must be at most {device.channels(kind)} for the {what}, but is {channels}")
        stream = library.InputStream if kind == "input" else library.OutputStream
        opened: Any = None
        try:
            with quiet():
                opened = stream(device=device.number, samplerate=rate, channels=channels, dtype=dtype, **more)
                opened.start()
                return opened
        except (library.PortAudioError, ValueError) as why:
            end(opened)
            text = explained(why)
            if len(why.args) > 1 and why.args[1] in _BAD_FORMAT:
                raise DefinitionError(
                    f"{self._who}: the {what} must be able to have {counted(channels)} of {dtype} at {rate:g} frames per second, but is "
                    f"not: {text}; it has {counted(device.channels(kind))}, and {device.rate:g} frames per second by default"
                ) from None
            raise DeviceAwayError(
                f"{self._who}: the {what} must be free, but cannot be opened: {text}; another program may use it"
            ) from None


def end(stream: Any) -> None:
    """End a stream of `Devices.open`, whatever has happened to its device; None: nothing."""
    if stream is not None:
        with quiet():
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)


def counted(channels: int) -> str:
    """Return a number of channels as a part of a line."""
    return f"{channels} channel{'' if channels == 1 else 's'}"


def listed(devices: Sequence[SoundDevice]) -> str:
    """Return devices as a part of a line."""
    texts = [f"{device.number} {device.name!r}" for device in devices[:_MOST_LISTED]]
    if len(devices) > _MOST_LISTED:
        texts.append(f"and {len(devices) - _MOST_LISTED} more, see fission audio devices")
    return ", ".join(texts)


def explained(why: Exception) -> str:
    """Return what PortAudio says, as a part of a line."""
    text = str(why.args[0]) if why.args and str(why.args[0]).strip() else type(why).__name__
    if len(why.args) > 2 and len(why.args[2]) > 2 and why.args[2][2]:
        text += f" ({why.args[2][2]})"
    for prefix in (
        "Error opening InputStream: ",
        "Error opening OutputStream: ",
        "Error starting stream: ",
        "Error initializing PortAudio: ",
    ):
        text = text.removeprefix(prefix)
    return " ".join(text.rstrip(".").split())


def silence_alsa() -> None:
    """Have ALSA write nothing to standard error: it does for each underrun, in PortAudio's thread, and jobs count and report these."""
    with contextlib.suppress(OSError, AttributeError):  # there is no ALSA
        alsa, program = ctypes.CDLL("libasound.so.2"), ctypes.CDLL(None)
        alsa.snd_lib_error_set_handler.argtypes = [ctypes.c_void_p]
        # a function of C that has no effect, because one of Python would need the interpreter's lock in that thread
        alsa.snd_lib_error_set_handler(ctypes.cast(program.getpid, ctypes.c_void_p))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what this process writes to standard error: PortAudio and ALSA print each failed attempt there."""
    try:
        old, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        yield
        return
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(old, 2)
        os.close(old)
