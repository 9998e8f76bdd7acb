"""Makes the recordings of this example: two voices, mixed as two microphones hear them. Done once; its results are committed.

    python3 make_recordings.py

It needs numpy and the program espeak-ng (Debian: apt-get install espeak-ng). Another version of espeak-ng may speak a little
differently, so the files need not come out the same to the last bit.
"""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "recordings"
RATE = 8000  # samples a second: telephone quality, enough for voices
LENGTH = 56000  # samples: 7 s
PEAK = 0.9  # of full scale, of the louder microphone
# espeak-ng's voice, words a minute, pitch (0 to 99), sentence
VOICES = (
    (
        "en-gb",
        180,
        40,
        "The rain had stopped before noon, so we carried the telescope up to the roof and waited there for the first stars to come out.",
    ),
    (
        "en-us+f3",
        165,
        60,
        "Please bring four boxes of green apples down to the old harbour, and tell no one there that the ship has already left.",
    ),
)
# Row: microphone, column: voice. Each microphone is nearer to one of the voices.
MIXING = np.array([[1.0, 0.65], [0.55, 1.0]])


def speak(voice: str, speed: int, pitch: int, text: str) -> np.ndarray:
    """The sentence as `LENGTH` samples at `RATE`, with power 1, silence behind it."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with wave.open(io.BytesIO(output)) as sound:
        rate = sound.getframerate()
        # Written to a pipe, espeak-ng cannot know the length: the header promises more than there is.
        samples = np.frombuffer(sound.readframes(len(output)), "<i2").astype(float)
    samples = resample(samples[np.argmax(np.abs(samples) > 100) :], rate)
    if not 0.85 * LENGTH < len(samples) <= LENGTH:
        sys.exit(f"the sentence of {voice} takes {len(samples)} samples, it must take a little less than {LENGTH}")
    samples = np.pad(samples, (0, LENGTH - len(samples)))
    return samples / samples.std()


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """The same sound with `RATE` samples a second, by cutting its spectrum at half of that."""
    length = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: length // 2 + 1]
    return np.fft.irfft(spectrum, length) * (length / len(samples))


def save(name: str, samples: np.ndarray) -> None:
    with wave.open(str(FOLDER / name), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())


def main() -> None:
    voices = np.array([speak(*voice) for voice in VOICES])
    microphones = MIXING @ voices
    for name, signals in (("voice", voices), ("microphone", microphones)):
        for number, samples in enumerate(signals * (PEAK / np.abs(signals).max()), 1):
            save(f"{name}_{number}.wav", samples)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main()
