"""A sound server of a test's own: PulseAudio with a null sink, whose monitor is the microphone and whose input is the loudspeaker.

PortAudio reaches it by ALSA's plugin for PulseAudio::

    with SoundServer(folder, rate=16000, channels=1) as server:
        run([...], env={**os.environ, **server.environment})

It listens at a socket in the folder, and reads and writes nothing else: not the user's server, not this machine's devices.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import pytest

from tests.waiting import eventually

#: ALSA's own configuration, and the server as the only device.
ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
#: The server's buffers in ms: as small as its plugin accepts without underruns here.
LATENCY_MS = 10
_START_S = 20.0


class SoundServer:
    """One server, with a device that `unplug` and `plug_in` remove and bring back.

    Attributes:
        environment: variables of processes that use it.
        rate: frames per second of its device.
        channels: channels of its device.
    """

    def __init__(self, folder: Path, rate: int = 16000, channels: int = 1) -> None:
        if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
            pytest.skip("needs pulseaudio; install it: apt install pulseaudio")
        self.rate, self.channels = rate, channels
        # a folder of its own, because the path of a socket has at most 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix="fission_sound_"))
        for name in ("home", "run"):
            (self._folder / name).mkdir(mode=0o700)
        (self._folder / "asound.conf").write_text(ALSA, encoding="ascii")
        self._socket = self._folder / "socket"
        self._log = folder / "pulseaudio.log"
        self.environment = {
            "ALSA_CONFIG_PATH": str(self._folder / "asound.conf"),
            "HOME": str(self._folder / "home"),
            "PULSE_LATENCY_MSEC": str(LATENCY_MS),
            "PULSE_RUNTIME_PATH": str(self._folder / "run"),
            "PULSE_SERVER": f"unix:{self._socket}",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._device = ""

    def __enter__(self) -> SoundServer:
        listens = f"module-native-protocol-unix socket={self._socket} auth-anonymous=1"
        command = ["pulseaudio", "-n", "--system=false", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--disable-shm=yes", "--high-priority=no", f"--log-target=file:{self._log}", "-L", listens]
        self._process = subprocess.Popen(command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL)
        eventually(self._answers, _START_S, "the sound server")
        self.plug_in()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
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
        """Make the device."""
        form = [f"rate={self.rate}", f"channels={self.channels}", "format=s32le"]
        self._device = self.pactl("load-module", "module-null-sink", "sink_name=room", *form).strip()

    def unplug(self) -> None:
        """Remove the device; its streams end."""
        self.pactl("unload-module", self._device)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the sound server has ended: {self._log.read_text(encoding='utf-8')}"
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.pactl("info"))
        return False
