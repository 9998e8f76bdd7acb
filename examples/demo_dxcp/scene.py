"""A room with a voice and two microphones, computed: the recordings of demo_dxcp, whose offsets are known exactly.

The sound in the room is a sum of sines (the discrete Fourier transform of a drawn signal), so it has a value at every instant. A
microphone whose clock is off by some ppm and starts late is that sum at other instants: exact, with no filter whose error could be
taken for a result.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from fission.errors import DefinitionError
from scipy import fft, signal

RATE = 16000  # samples a second of both microphones, as their names say; by the first one's clock
FILES = ("microphone_1.wav", "microphone_2.wav")
TRUTH = "truth.json"
GUARD_S = 1.0  # of silence at both ends of the room's sound: the sines repeat, and what comes next must not be heard

#: First three resonances of a vocal tract in Hz, for five vowels: textbook averages of adults, rounded.
VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))


@dataclass(frozen=True)
class Scene:
    """What is recorded.

    Attributes:
        seconds: length of each recording.
        rate_offset_ppm: by how much the second microphone's sampling rate is above the first one's.
        time_offset_ms: how much later the second microphone starts.
        snr_db: power of the voice over that of the noise of each microphone.
        seed: of what is drawn: the words, the echoes and the noise.

    Raises:
        DefinitionError: a number is beyond what the method and the recordings are made for.
    """

    seconds: float = 60.0
    rate_offset_ppm: float = 75.0
    time_offset_ms: float = 12.5
    snr_db: float = 20.0
    seed: int = 1

    def __post_init__(self) -> None:
        for what, value, lowest, highest in (
            ("seconds", self.seconds, 0.1, 3600),
            ("rate_offset_ppm", self.rate_offset_ppm, -1000, 1000),
            ("time_offset_ms", self.time_offset_ms, -100, 100),
            ("snr_db", self.snr_db, -100, 1000),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
                raise DefinitionError(f"the recordings' {what} must be from {lowest} to {highest}, but is {value!r}")


def voice(length: int, random: np.random.Generator) -> np.ndarray:
    """Return `length` samples that resemble speech: syllables with pitch and resonances, hisses, pauses. RMS about 1."""
    sound = np.zeros(length)
    start = 0
    while start < length:
        size = int(RATE * random.uniform(0.12, 0.3))
        kind = random.choice(3, p=(0.65, 0.15, 0.2))
        if kind == 0:
            syllable = _vowel(size, random)
        elif kind == 1:
            syllable = 0.3 * signal.lfilter([1, -0.9], [1], random.standard_normal(size))
        else:
            syllable = np.zeros(size)
        end = min(length, start + size)
        sound[start:end] = (syllable * np.hanning(size))[: end - start]
        start = end
    return sound / np.sqrt(np.mean(sound**2))


def _vowel(size: int, random: np.random.Generator) -> np.ndarray:
    """Return a vowel: pulses at a gliding pitch and a little breath, through three resonances. RMS 1."""
    pitch = np.linspace(*random.uniform(90, 220, 2), size)
    pulses = np.diff(np.floor(np.cumsum(pitch / RATE)), prepend=0.0)
    sound = pulses + 0.02 * random.standard_normal(size)
    for frequency, width in zip(VOWELS[random.integers(len(VOWELS))], (80, 100, 140), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        sound = signal.lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], sound)
    return sound / np.sqrt(np.mean(sound**2))


def echoes(random: np.random.Generator) -> np.ndarray:
    """Return what a microphone hears of a click: the click at once, then 0.15 s of fading echoes with a fifth of its energy."""
    tail = random.standard_normal(int(0.15 * RATE)) * np.exp(-np.arange(int(0.15 * RATE)) / (0.03 * RATE))
    tail[: int(0.003 * RATE)] = 0
    tail *= np.sqrt(0.2 / np.sum(tail**2))
    tail[0] = 1
    return tail


def at_instants(sound: np.ndarray, first: float, step: float, count: int) -> np.ndarray:
    """Return the sum of sines that passes through all samples of `sound`, at `count` instants from `first` on, `step` apart.

    The instants are in samples, and need not be integers. Above the lower of the two Nyquist frequencies nothing must be in the sound.
    The sum of all products of frequencies m and instants n becomes a convolution by m n = (m^2 + n^2 - (n - m)^2) / 2 (L. I. Bluestein,
    "A linear filtering approach to the computation of discrete Fourier transform", IEEE Transactions on Audio and Electroacoustics, 1970).
    """
    length = len(sound)
    spectrum = fft.rfft(sound) / length
    spectrum[1:] *= 2
    bins = len(spectrum)
    m = np.arange(bins)
    turn = np.pi * step / length

    def chirp(numbers: np.ndarray) -> np.ndarray:
        return np.exp(1j * turn * numbers.astype(float) ** 2)

    size = fft.next_fast_len(bins + count - 1)
    weighted = np.zeros(size, complex)
    weighted[:bins] = spectrum * np.exp(2j * np.pi * first / length * m) * chirp(m)
    kernel = np.zeros(size, complex)
    kernel[:count] = chirp(np.arange(count)).conj()
    kernel[size - bins + 1 :] = chirp(np.arange(bins - 1, 0, -1)).conj()
    product = fft.ifft(fft.fft(weighted) * fft.fft(kernel))[:count]
    return (product * chirp(np.arange(count))).real


def record(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return what both microphones record: each an array of scene.seconds * RATE samples between -1 and 1."""
    count = round(scene.seconds * RATE)
    guard = round(GUARD_S * RATE)
    length = fft.next_fast_len(count + round(count * 2e-3) + 4 * guard, real=True)
    random = np.random.default_rng(scene.seed)
    words = np.zeros(length)
    words[guard:-guard] = voice(length - 2 * guard, random)
    # Below 7.5 kHz, a faster or slower clock of up to 6 % leaves everything below its Nyquist frequency.
    low = signal.firwin(255, 7200, fs=RATE)
    words = signal.fftconvolve(words, low, mode="same")
    offsets = ((0.0, 1.0), (scene.time_offset_ms * RATE / 1000, 1 / (1 + scene.rate_offset_ppm * 1e-6)))
    recordings = []
    for first, step in offsets:
        heard = signal.fftconvolve(words, echoes(random))[:length]
        noise = 10 ** (-scene.snr_db / 20) * random.standard_normal(count)
        recordings.append(0.08 * (at_instants(heard, 2 * guard + first, step, count) + noise))
    return recordings[0], recordings[1]


def make(folder: Path, scene: Scene) -> None:
    """Write both recordings (16 bit) and what is true about them into a folder, unless it holds those of this scene already.

    Raises:
        OSError: the folder cannot be written.
    """
    text = json.dumps(asdict(scene), indent=2) + "\n"
    truth = folder / TRUTH
    if truth.exists() and truth.read_text() == text and all((folder / name).exists() for name in FILES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    truth.unlink(missing_ok=True)  # last in, first out: what is half-written is made again
    for name, samples in zip(FILES, record(scene), strict=True):
        soundfile.write(folder / name, samples, RATE, subtype="PCM_16")
    truth.write_text(text)
