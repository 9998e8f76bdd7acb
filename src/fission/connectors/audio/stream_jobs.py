"""Jobs that compute on streams of sound."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from fission.connectors.audio.processors import LevelProcessor, Resampler, SpectrumProcessor
from fission.connectors.audio.spectrum_block import SpectrumBlock
from fission.connectors.audio.stream_job import StreamJob, result_dtype
from fission.core.audio_block import AudioBlock, checked_rate
from fission.errors import DefinitionError, ValueFitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.connectors.audio.processors import StreamProcessor
    from fission.core.base_pipe import BasePipe

#: Largest factor of a resampling ratio: its filter has 20 times as many coefficients, 16 MB.
_MOST_FACTOR = 100_000


def _rate_faults(name: str, rate: Any) -> list[str]:
    try:
        checked_rate(name, rate)
    except ValueFitError as why:
        return [str(why)]
    return []


class ResampleJob(StreamJob):
    """Resamples sound to another rate. The result is that of `scipy.signal.resample_poly` on the whole
    sound, whatever its blocks are.

    Method: polyphase filtering with a linear-phase low-pass filter (a sinc of 10 zero crossings on each
    side, in a Kaiser window with beta 5); see Crochiere and Rabiner, "Multirate Digital Signal
    Processing", 1983, chapter 3. Frame m of the result is the sound at the time m / rate, so there is no
    delay in the numbering; results are sent when the 10 following samples have arrived. The dtype is
    float64 for int32 and float64, otherwise float32.

    Args:
        rate: frames per second of the result.
        rate_in: frames per second of plain arrays; not used for `AudioBlock` objects.
        inputs: one pipe.
        outputs: as for every job.
    """

    def __init__(
        self,
        rate: float,
        rate_in: float | None = None,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.rate = rate
        self.rate_in = rate_in

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults() + _rate_faults("rate", self.rate)
        return faults + (_rate_faults("rate_in", self.rate_in) if self.rate_in is not None else [])

    def _fission_plain_rate(self) -> float:
        if self.rate_in is None:
            raise DefinitionError(f"{self._fission_name}: rate_in must be the rate of the plain arrays that it gets, but is None")
        return self.rate_in

    def _fission_processor(self, rate: float) -> StreamProcessor:
        ratio = Fraction(self.rate) / Fraction(rate)
        if max(ratio.numerator, ratio.denominator) > _MOST_FACTOR:
            ratio = ratio.limit_denominator(_MOST_FACTOR)
        if not ratio or max(ratio.numerator, ratio.denominator) > _MOST_FACTOR:
            raise ValueFitError(
                f"{self._fission_name}: the ratio of the rates must be a fraction of ints up to {_MOST_FACTOR}, but is {self.rate} / {rate}"
            )
        return Resampler(ratio.numerator, ratio.denominator)

    def run(self, block: Any) -> Any:
        number, results, sound, plain = self._fission_push(block)
        samples = results.astype(result_dtype(sound))
        if plain:
            return samples
        ahead = number / self.rate - sound.first_sample / sound.rate
        return AudioBlock(samples, self.rate, number, None if sound.time is None else sound.time + ahead)


class StftJob(StreamJob):
    """Computes the short-time Fourier transform. The result is that of `scipy.signal.ShortTimeFFT`
    (one-sided, ``phase_shift=None``) on the whole sound, whatever its blocks are.

    Method: the spectrum of `size` windowed frames, every `hop` frames; see Allen and Rabiner, "A unified
    approach to short-time Fourier analysis and synthesis", Proceedings of the IEEE 65 (1977). Slice p is
    centred on frame ``p * hop``; slices that begin before the sound, or end after it, have zeros there.

    It sends a `SpectrumBlock`; for plain arrays an array of shape (slices, bins) or (slices, bins,
    channels). The dtype is complex128 for int32 and float64, otherwise complex64.

    Args:
        size: frames in a slice, at least 2.
        hop: frames from one slice to the next. None: half of `size`.
        window: as for `scipy.signal.get_window`: a name, or a tuple of a name and parameters.
        inputs: one pipe.
        outputs: as for every job.
    """

    def __init__(
        self,
        size: int = 1024,
        hop: int | None = None,
        window: str | tuple[Any, ...] = "hann",
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.size = size
        self.hop = hop
        self.window = window

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        size: Any = self.size
        hop: Any = self.hop
        if isinstance(size, bool) or not isinstance(size, int) or size < 2:
            return [*faults, f"size must be an int of at least 2, but is {size!r}"]
        if hop is not None and (isinstance(hop, bool) or not isinstance(hop, int) or not 1 <= hop <= size):
            faults.append(f"hop must be an int from 1 to size, or None, but is {hop!r}")
        return faults

    def _fission_processor(self, rate: float) -> StreamProcessor:
        try:
            processor = SpectrumProcessor(self.size, self.hop or self.size // 2, self.window)
            processor.first_result(0)
        except ValueError as why:
            raise DefinitionError(
                f"{self._fission_name}: window must be one of scipy.signal.get_window, but is {self.window!r}: {why}"
            ) from None
        return processor

    def run(self, block: Any) -> Any:
        number, results, sound, plain = self._fission_push(block)
        spectra = results.astype("complex128" if result_dtype(sound) == "float64" else "complex64")
        if plain:
            return spectra
        hop = self.hop or self.size // 2
        ahead = (number * hop - sound.first_sample) / sound.rate
        return SpectrumBlock(spectra, sound.rate, self.size, hop, number, None if sound.time is None else sound.time + ahead)


class LevelJob(StreamJob):
    """Measures the level of each channel, in decibels relative to full scale.

    Method: 10 times the decimal logarithm of the mean square (the equivalent continuous level of IEC
    61672-1, without weighting), or of the largest square, of each interval. A square wave of full scale
    has 0 dB, a sine -3.01 dB (AES17 calls that 0 dBFS: add 3.01). Intervals begin at multiples of their
    length, counted from frame 0.

    It sends `AudioBlock` objects, float64: frame i is the level of interval i, so their rate is that of the
    intervals. For plain arrays it sends an array.

    Args:
        interval: seconds of an interval, rounded to frames. 0.125 is the time constant F of IEC 61672-1.
        kind: "rms" or "peak".
        floor: lowest level that is sent, also for silence.
        rate_in: frames per second of plain arrays; not used for `AudioBlock` objects.
        inputs: one pipe.
        outputs: as for every job.
    """

    def __init__(
        self,
        interval: float = 0.125,
        kind: str = "rms",
        floor: float = -200.0,
        rate_in: float | None = None,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.interval = interval
        self.kind = kind
        self.floor = floor
        self.rate_in = rate_in

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        interval: Any = self.interval
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0 < interval < float("inf"):
            faults.append(f"interval must be a number of seconds above 0, but is {interval!r}")
        if self.kind not in ("rms", "peak"):
            faults.append(f"kind must be 'rms' or 'peak', but is {self.kind!r}")
        return faults + (_rate_faults("rate_in", self.rate_in) if self.rate_in is not None else [])

    def _fission_plain_rate(self) -> float:
        if self.rate_in is None:
            raise DefinitionError(f"{self._fission_name}: rate_in must be the rate of the plain arrays that it gets, but is None")
        return self.rate_in

    def _fission_processor(self, rate: float) -> StreamProcessor:
        return LevelProcessor(max(1, round(self.interval * rate)), peak=self.kind == "peak")

    def run(self, block: Any) -> Any:
        import numpy

        number, squares, sound, plain = self._fission_push(block)
        levels = 10 * numpy.log10(numpy.maximum(squares, 10 ** (self.floor / 10)))
        if plain:
            return levels
        length = max(1, round(self.interval * sound.rate))
        ahead = (number * length - sound.first_sample) / sound.rate
        return AudioBlock(levels, sound.rate / length, number, None if sound.time is None else sound.time + ahead)
