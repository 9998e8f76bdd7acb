"""`fission audio devices`, and what jobs say about devices that they cannot have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.cli.commands.audio import devices
from fission.cli.fitted_table import cells_of
from fission.connectors.audio.devices import DeviceAwayError, Devices
from fission.connectors.audio.needs import needed
from fission.errors import DefinitionError
from tests.connectors.fake_sound import FakeLibrary, PortAudioError
from tests.sound_server import SoundServer
from tests.waiting import CommandLine

pytest.importorskip("sounddevice")


TWO = (("USB Audio: Front (hw:1,0)", 2, 0), ("USB Audio: Back (hw:2,0)", 1, 0), ("HDMI", 0, 8))


@pytest.fixture(scope="module")
def server() -> Iterator[SoundServer]:
    with SoundServer() as found:
        yield found


def test_devices_are_listed(fission: CommandLine, server: SoundServer) -> None:
    """Whatever PortAudio and its plugins write to standard error stays out of it."""
    done = fission.run("audio", "devices", exit_code=0, env=server.environment)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split() == ["NUMBER", "NAME", "IN", "OUT", "RATE", "DEFAULT"]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [line.split()[-2:] for line in done.stdout.splitlines() if "default, ALSA" in line] == [["in,", "out"]]
    found = json.loads(fission.run("audio", "devices", "--json", exit_code=0, env=server.environment).stdout)["devices"]
    assert {device["name"] for device in found if device["default_input"] and device["default_output"]} == {"default, ALSA"}
    assert all(device["inputs"] >= 1 and device["rate"] > 0 for device in found)


def test_without_devices_one_line_says_so(fission: CommandLine, server: SoundServer) -> None:
    """PortAudio leaves out what cannot be opened; here that is the only device, unless this machine has a sound card."""
    away = {**server.environment, "PULSE_SERVER": "unix:/nowhere"}
    done = fission.run("audio", "devices", "--json", exit_code=0, env=away)
    assert done.stderr == ""
    cards = Path("/proc/asound/cards").exists()
    assert cards or json.loads(done.stdout) == {"devices": []}
    done = fission.run("audio", "devices", exit_code=0, env=away)
    assert cards or (done.stdout, done.stderr) == ("", "This machine has no sound device that PortAudio finds.\n")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("raise ModuleNotFoundError('no', name='sounddevice')", "needs sounddevice, which is not installed; install the extra 'audio': "),
        ("raise OSError('PortAudio library not found')", "PortAudio library not found; install it: apt install libportaudio2"),
    ],
)
def test_a_missing_library_is_one_line(fission: CommandLine, tmp_path: Path, module: str, text: str) -> None:
    (tmp_path / "sounddevice.py").write_text(module, encoding="ascii")
    done = fission.run("audio", "devices", exit_code=2, env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2] / 'src'}"})
    assert text in done.stderr
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_alsa_does_not_write_into_the_output_of_jobs() -> None:
    """A line for each underrun, which jobs report by themselves."""
    code = """
import ctypes, sys
try:
    alsa = ctypes.CDLL("libasound.so.2")
except OSError:
    sys.exit()
from fission.connectors.audio.devices import silence_alsa
def fails():
    alsa.snd_pcm_open(ctypes.byref(ctypes.c_void_p()), sys.argv[1].encode(), 0, 0)
    print("failed", file=sys.stderr, flush=True)
fails()
silence_alsa()
fails()
"""
    done = subprocess.run([sys.executable, "-c", code, "no_such_device"], capture_output=True, text=True, check=True, timeout=30)
    lines = done.stderr.splitlines()
    assert not lines or ("no_such_device" in lines[0] and lines[-2:] == ["failed", "failed"]), done


def test_nothing_is_loaded_by_importing_the_connectors(fission: CommandLine) -> None:
    code = "import sys; from fission.connectors.audio import *; print('sounddevice' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout == "False\n"


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(None, 0), (1, 1), ("usb audio: back (hw:2,0)", 1), ("Front", 0), ("FRONT", 0), ("HDMI", None), (2, None), (9, None)],
)
def test_a_microphone_is_found_by_name_part_or_number(wanted: str | int | None, number: int | None) -> None:
    found = Devices("M", FakeLibrary(*TWO)).find(wanted, "input")
    assert (None if found is None else found.number) == number


def test_a_name_that_fits_two_devices_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"M: device must be the name of one device, but 'usb' fits several: 0 'USB Audio: Front"):
        Devices("M", FakeLibrary(*TWO)).find("usb", "input")
    with pytest.raises(DefinitionError, match=r"0 'USB, ALSA', 1 'USB, ALSA'; write more of the name, or the number$"):
        Devices("M", FakeLibrary(("USB", 1, 0), ("USB", 1, 0))).find("USB, ALSA", "input")


def test_a_device_with_a_name_in_another_encoding_hides_no_other() -> None:
    """sounddevice raises for it; ALSA cuts long names off, also within a character."""
    library = FakeLibrary((b"Mikrofon K\xc3", 1, 0), ("Boom", 2, 0))
    assert [(device.number, device.name) for device in Devices("M", library).all()] == [(1, "Boom, ALSA")]


def test_odd_names_keep_the_table_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["line\nbreak", "\x1b[31mred", "tab\there", "nul\0", "\u202ertl", "\udcff", "", "x" * 300, "\u30de\u30a4\u30af" * 30]
    monkeypatch.setitem(sys.modules, "sounddevice", FakeLibrary(*((name, 2, 1) for name in names)))
    devices.main([], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(names)
    assert all(line.isprintable() and cells_of(line) <= 80 for line in lines)
    assert lines[1].split() == ["0", "line?break,", "ALSA", "2", "1", "48000", "in,", "out"]


@pytest.mark.parametrize(
    ("error", "text"), [("ImportError('cffi is broken')", "ImportError: cffi is broken"), ("KeyError(7)", "KeyError: 7")]
)
def test_a_library_that_does_not_load_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, text: str) -> None:
    """PortAudio is initialised by the import, which can fail too, with an error of the module itself."""
    (tmp_path / "broken_sound.py").write_text(f"raise {error}", encoding="ascii")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DefinitionError, match=f"M needs broken_sound, which cannot be loaded: {text}; install it"):
        needed("M", "broken_sound")


@pytest.mark.parametrize(
    ("devices", "wanted", "channels", "fault", "error", "text"),
    [
        (TWO, "HDMI", 1, None, DeviceAwayError, "must have the microphone 'HDMI', but 2 'HDMI, ALSA' only plays; there are: 0 'USB Audio"),
        (TWO, 2, 1, None, DeviceAwayError, "must have the microphone 2, but 2 'HDMI, ALSA' only plays; there are: 0 'USB Audio"),
        ((), None, 1, None, DeviceAwayError, "M: this machine must have a default microphone, but there is none"),
        (
            TWO,
            "Shure",
            1,
            None,
            DeviceAwayError,
            "must have the microphone 'Shure', but there are: 0 'USB Audio: Front (hw:1,0), ALSA', 1 ",
        ),
        (
            TWO,
            "Front",
            3,
            None,
            DefinitionError,
            "channels must be at most 2 for the microphone 'USB Audio: Front (hw:1,0), ALSA', but is 3",
        ),
        (
            TWO,
            "Front",
            2,
            PortAudioError("Invalid sample rate", -9997),
            DefinitionError,
            "2 channels of int16 at 8000 frames per second, but",
        ),
        (TWO, "Front", 2, PortAudioError("Invalid number of channels", -9998), DefinitionError, "it has 2 channels, and 48000 frames per"),
        (
            TWO,
            "Front",
            1,
            PortAudioError("Device unavailable", -9985),
            DeviceAwayError,
            "must be free, but cannot be opened: Device unavail",
        ),
        (TWO, "Front", 1, PortAudioError("Host error", -9999, (0, -16, "busy")), DeviceAwayError, "Host error (busy); another program may"),
    ],
)
def test_a_device_that_cannot_be_opened_is_one_line_of_the_right_kind(
    devices: Any, wanted: str | None, channels: int, fault: Exception | None, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        Devices("M", FakeLibrary(*devices, fault=fault)).open("input", wanted, 8000, channels, "int16")
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_library_of_the_parent_process_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio's handles do not survive a fork: a fork server that has loaded it, by PRELOAD, must not pass them on."""
    inherited = FakeLibrary(*TWO)
    monkeypatch.setitem(sys.modules, "sounddevice", inherited)
    Devices("M").all()
    assert inherited.starts == ["ends", "begins"]
