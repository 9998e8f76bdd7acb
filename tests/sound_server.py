"""A sound server of a test's own: PulseAudio, with a microphone that hears a counter, and a loudspeaker into a file.

PortAudio reaches it by ALSA's plugin for PulseAudio::

    with SoundServer(rate=16000) as server:
        run([...], env={**os.environ, **server.environment})

It listens at a socket in a folder of its own, and reads and writes nothing else: not the user's server, not this machine's devices.

The microphone is a pipe into which a process writes, the loudspeaker a pipe from which one reads. A null sink and its monitor would be
simpler, but on a busy machine the sink inserts silence between the samples that it is given, and leaves others out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psutil
import pytest

from tests import hygiene
from tests.waiting import eventually

#: ALSA's own configuration, and the server as the only device.
ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
#: What is heard: in each channel an int32 that is 256 times the number of frames since the start, from 1. So each sample says when it was
#: heard, and 0 stands for what was lost. 24 bits: 17 minutes at 16 kHz.
COUNTS = """
import array, os, sys, time
path, began, rate, channels = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
pipe, heard = os.open(path, os.O_WRONLY), round((time.monotonic() - float(began)) * rate)
while True:
    now = round((time.monotonic() - began) * rate)
    data = array.array("i", [number << 8 for number in range(heard + 1, now + 1) for _ in range(channels)]).tobytes()
    while data:
        data = data[os.write(pipe, data):]
    heard = now
    time.sleep(0.005)
"""
#: What is heard: a file, in real time.
REPEATS = """
import os, sys, time
pipe, rate, width = os.open(sys.argv[1], os.O_WRONLY), int(sys.argv[2]), 4 * int(sys.argv[3])
sound = open(sys.argv[4], "rb").read()
heard, began = 0, time.monotonic()
while True:
    now = round((time.monotonic() - began) * rate) * width
    data = b""
    while heard + len(data) < now:
        start = (heard + len(data)) % len(sound)
        data += sound[start : start + now - heard - len(data)]
    heard = now
    while data:
        data = data[os.write(pipe, data):]
    time.sleep(0.005)
"""
#: The loudspeaker: takes bytes per second from a pipe, and appends them to a file.
LISTENS = """
import os, sys, time
pipe, per_s, began = os.open(sys.argv[1], os.O_RDONLY), float(sys.argv[2]), time.monotonic()
with open(sys.argv[3], "ab", buffering=0) as file:
    taken = 0
    while True:
        due = round((time.monotonic() - began) * per_s) // 4 * 4 - taken
        data = os.read(pipe, due) if due else b""
        taken += due  # what was not played in time is not made up for
        file.write(data)
        time.sleep(0.005)
"""
#: The server's buffers in ms; arbitrary.
LATENCY_MS = 10
_START_S = 20.0


class SoundServer:
    """One server, with devices that `unplug` and `plug_in` remove and bring back.

    Attributes:
        began: monotonic time from which the counter counts.
        environment: variables of processes that use it.
        rate: frames per second of its devices.
        channels: channels of its devices.
        played: file with what the loudspeaker has played, int32.
    """

    def __init__(
        self, rate: int = 16000, channels: int = 1, devices: Sequence[str] = ("mic", "room"), latency_ms: int | None = LATENCY_MS
    ) -> None:
        """Prepare.

        Args:
            rate: frames per second of its devices.
            channels: channels of its devices.
            latency_ms: length of the server's buffers; None: its clients decide. PortAudio's streams stop if they asked for longer ones.
            devices: "mic", "room" (the loudspeaker), or both. With both, streams of one that is unplugged may move to the other.
        """
        if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
            pytest.skip("needs pulseaudio; install it: apt install pulseaudio")
        self.rate, self.channels, self._devices = rate, channels, devices
        # a folder of its own, because the path of a socket has at most 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix="fission_sound_"))
        for name in ("home", "run"):
            (self._folder / name).mkdir(mode=0o700)
        (self._folder / "asound.conf").write_text(ALSA, encoding="ascii")
        self._socket = self._folder / "socket"
        self._log = self._folder / "log"
        self.environment = {
            "ALSA_CONFIG_PATH": str(self._folder / "asound.conf"),
            "HOME": str(self._folder / "home"),
            "PULSE_RUNTIME_PATH": str(self._folder / "run"),
            "PULSE_SERVER": f"unix:{self._socket}",
        }
        if latency_ms is not None:
            self.environment["PULSE_LATENCY_MSEC"] = str(latency_ms)
        self._process: subprocess.Popen[bytes] | None = None
        self._modules: dict[str, str] = {}
        self._others: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.began = time.monotonic()
        self.played = self._folder / "played"

    def __enter__(self) -> SoundServer:
        listens = f"module-native-protocol-unix socket={self._socket} auth-anonymous=1"
        command = ["pulseaudio", "-n", "--system=false", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--disable-shm=yes", "--high-priority=no", f"--log-target=file:{self._log}", "-L", listens]
        self._process = subprocess.Popen(command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, cwd="/")
        hygiene.held_processes.add(psutil.Process(self._process.pid))  # it is not what a network has left
        eventually(self._answers, _START_S, "the sound server")
        self.plug_in()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        self._end_others(*(device for device, _ in self._others))
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        shutil.rmtree(self._folder)

    def pactl(self, *words: str) -> str:
        """Return what a command of pactl prints."""
        command = ["pactl", *words]
        return subprocess.run(
            command, env={**os.environ, **self.environment}, check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def plug_in(self) -> None:
        """Make the devices, or those of them that are missing."""
        form = [f"rate={self.rate}", f"channels={self.channels}", "format=s32le"]
        if "room" in self._devices and "room" not in self._modules:
            pipe = self._folder / "room"
            self._modules["room"] = self.pactl("load-module", "module-pipe-sink", "sink_name=room", f"file={pipe}", *form).strip()
            self._start("room", [sys.executable, "-c", LISTENS, str(pipe), str(self.rate * self.channels * 4), str(self.played)])
        if "mic" in self._devices and "mic" not in self._modules:
            pipe = self._folder / "mic"
            self._modules["mic"] = self.pactl("load-module", "module-pipe-source", "source_name=mic", f"file={pipe}", *form).strip()
            self.pactl("set-default-source", "mic")
            self._start("mic", [sys.executable, "-c", COUNTS, str(pipe), str(self.began), str(self.rate), str(self.channels)])
            # without a listener the server keeps seconds of sound, which the next one would hear first
            self._start("mic", ["parec", "--raw", "--device=mic", f"--latency-msec={LATENCY_MS}"])

    def unplug(self, device: str) -> None:
        """Remove the device "mic" or "room"; its streams end."""
        self.pactl("unload-module", self._modules.pop(device))
        self._end_others(device)

    def hear(self, path: Path) -> None:
        """Make a microphone that hears a file, again and again, and make it the default one.

        Args:
            path: of a file with samples for all channels, int32, little endian.
        """
        pipe = self._folder / "hears"
        form = [f"rate={self.rate}", f"channels={self.channels}", "format=s32le"]
        self.pactl("load-module", "module-pipe-source", "source_name=hears", f"file={pipe}", *form)
        self.pactl("set-default-source", "hears")
        self._start("hears", [sys.executable, "-c", REPEATS, str(pipe), str(self.rate), str(self.channels), str(path)])
        self._start("hears", ["parec", "--raw", "--device=hears", f"--latency-msec={LATENCY_MS}"])

    def split(self, *names: str) -> None:
        """Make a device for each channel of the default microphone, under names that PortAudio lists too."""
        source = self.pactl("get-default-source").strip()
        places = ("front-left", "front-right")
        with (self._folder / "asound.conf").open("a", encoding="ascii") as file:
            for name, place in zip(names, places, strict=True):
                form = [f"master_channel_map={place}", "channels=1", "channel_map=mono", "remix=no"]
                self.pactl("load-module", "module-remap-source", f"master={source}", f"source_name={name}", *form)
                file.write(f"pcm.{name} {{ type pulse device {name} hint.description {name} }}\n")
                self._start(name, ["parec", "--raw", f"--device={name}", f"--latency-msec={LATENCY_MS}"])

    def _start(self, device: str, command: list[str]) -> None:
        null, env = subprocess.DEVNULL, {**os.environ, **self.environment}
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, cwd="/", env=env)
        hygiene.held_processes.add(psutil.Process(process.pid))  # it is not what a network has left
        self._others.append((device, process))

    def _end_others(self, *devices: str) -> None:
        for device, process in list(self._others):
            if device not in devices:
                continue
            self._others.remove((device, process))
            process.kill()
            process.wait(10)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the sound server has ended: {self._log.read_text(encoding='utf-8')}"
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.pactl("info"))
        return False
