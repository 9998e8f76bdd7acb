"""A sink that writes sound."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from fission.core.audio_block import AudioBlock, max_gap_faults
from fission.core.file_sinks import FileSinkJob
from fission.core.wav_layout import MOST_BYTES, SAMPLE_BYTES, UNKNOWN, WavLayout, frames
from fission.errors import DefinitionError, ValueFitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_pipe import BasePipe

_PIECE_FRAMES = 1 << 12  # silence is written in pieces; arbitrary


class WavSinkJob(FileSinkJob):
    """Writes sound to a WAV file, which is playable at any time: its header is updated after each
    block. Above 4 GiB the file is RF64.

    Blocks are `AudioBlock` objects; or bytes of whole frames in the file's format; or arrays, of
    shape (frames,) or (frames, channels), of the file's dtype or of floats. Floats are scaled so
    that 1.0 is the largest integer, and clipped.

    Without `rate`, the first `AudioBlock` determines the format of the file. All blocks must have
    that format.

    A gap between two `AudioBlock` objects (`first_sample` is higher than expected) is filled with
    silence, up to MAX_GAP_S. After a longer gap, or if `first_sample` is lower than expected, the
    block follows without silence. Both are counted and reported on standard error.

    Args:
        path: path of the file, relative to the job's folder.
        rate: frames per second. None: that of the first `AudioBlock`.
        channels: samples in a frame. None: 1 if there is a `rate`, else those of the first
            `AudioBlock`.
        dtype: type of a sample: "uint8", "int16", "int24", "int32", "float32" or "float64". None:
            "int16" if there is a `rate`, else that of the first `AudioBlock`.
        inputs: one pipe.

    Class attributes, for subclasses to override:
        MAX_GAP_S: longest gap in seconds that is filled. 3600 is arbitrary: far longer than a
            failover, and short enough not to fill a disk.

    Attributes:
        gaps: number of gaps that this incarnation filled.
        filled_frames: number of silent frames that it wrote for them.
        jumps: number of blocks whose `first_sample` did not follow, and that were appended without
            silence.
    """

    MAX_GAP_S: float = 3600.0

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate: int | None = None,
        channels: int | None = None,
        dtype: str | None = None,
        inputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(path, inputs=inputs)
        self.rate = rate
        self.channels = channels
        self.dtype = dtype
        self.gaps = self.filled_frames = self.jumps = 0
        self._fission_layout: WavLayout | None = None
        self._fission_origin = UNKNOWN  # number of the file's first frame

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        for name, value, most in (("rate", self.rate, 2**32 - 1), ("channels", self.channels, 2**16 - 1)):
            number: Any = value
            if value is not None and (isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most):
                faults.append(f"{name} must be an int from 1 to {most}, but is {number!r}")
        if self.dtype is not None and self.dtype not in SAMPLE_BYTES:
            faults.append(f"dtype must be one of {', '.join(SAMPLE_BYTES)}, but is {self.dtype!r}")
        if len(self.inputs) > 1:
            faults.append(f"it must have one input, whose sound it writes, but has {len(self.inputs)}")
        return faults + max_gap_faults(self)

    def _fission_open(self) -> None:
        if self.rate is not None:
            self._fission_layout = WavLayout(self.rate, self.channels or 1, self.dtype or "int16")
        super()._fission_open()

    def file_start(self) -> bytes:
        return self.file_header(0)

    def file_header(self, size: int) -> bytes:
        return b"" if self._fission_layout is None else self._fission_layout.header(size, self._fission_origin)

    def adopt(self, start: bytes, size: int) -> int:
        length = self._fission_read(start)
        self._fission_origin = UNKNOWN  # numbers of another run
        return min(size, length)

    def _fission_continue(self, start: bytes) -> None:
        self._fission_read(start)

    def _fission_read(self, start: bytes) -> int:
        """Take layout and origin from a file; return the size that it must have according to its header.

        Raises:
            DefinitionError: it has another format.
        """
        found = WavLayout.read(start)
        layout = found[0] if found else None
        wanted = [("rate", self.rate), ("channels", self.channels), ("dtype", self.dtype)]
        if self.rate is not None:
            wanted = [("rate", self.rate), ("channels", self.channels or 1), ("dtype", self.dtype or "int16")]
        if found is None or any(value is not None and getattr(layout, name) != value for name, value in wanted):
            text = ", ".join(f"{name} {value}" for name, value in wanted if value is not None)
            raise DefinitionError(
                f"{self._fission_name}: {os.fspath(self.path)} exists, and must be a WAV file that this job can continue"
                f"{f' ({text})' if text else ''}, but is not; move it away"
            )
        self._fission_layout, self._fission_origin, length = found
        return length

    def run(self, *values: Any) -> None:
        blocks = values[0] if self.inputs[0].BLOCK_COUNT > 1 else values
        if not any(isinstance(block, AudioBlock) for block in blocks):
            super().run(*values)
            return
        for block in blocks:
            if isinstance(block, AudioBlock):
                self._fission_place_block(block)
            self.append(self._fission_encode(block))

    def encode(self, *values: Any) -> bytes:
        blocks = values[0] if self.inputs[0].BLOCK_COUNT > 1 else values
        return b"".join(map(self._fission_encode, blocks))

    def _fission_encode(self, block: Any) -> bytes:
        layout = self._fission_layout
        if isinstance(block, AudioBlock):
            layout = self._fission_layout_for(block)
            block = block.samples
        if layout is None:
            raise ValueFitError(f"{self._fission_name}: blocks must be AudioBlock objects, but are {type(block).__name__}; or set rate")
        return frames(self._fission_name, block, layout.channels, layout.dtype)

    def append(self, data: bytes | memoryview) -> None:
        file, layout = self._fission_sink_file, self._fission_layout
        if file is not None and layout is not None and layout.short and file.size + len(data) > MOST_BYTES:
            raise ValueFitError(
                f"{self._fission_name}: {os.fspath(self.path)} was begun by an earlier version, has at most 4 GiB, and is full; start "
                "another file"
            )
        super().append(data)

    def _fission_layout_for(self, block: AudioBlock) -> WavLayout:
        """Return the layout of the file: the first block determines it, and all others must fit."""
        layout = self._fission_layout
        if layout is None:
            rate = block.rate
            if not isinstance(rate, int) or rate >= 2**32:
                raise ValueFitError(f"{self._fission_name}: the rate of a WAV file must be an int below 2**32, but is {rate}; resample")
            layout = WavLayout(rate, self.channels or block.channels, self.dtype or block.samples.dtype.name)
            self._fission_layout = layout
            if self._fission_sink_file is not None:
                self._fission_sink_file.append_start(layout.header(0))
        if (block.rate, block.channels) != (layout.rate, layout.channels):
            raise ValueFitError(
                f"{self._fission_name}: blocks must have {layout.channels} channels at {layout.rate} frames per second, as the file "
                f"{os.fspath(self.path)}, but one has {block.channels} at {block.rate}"
            )
        return layout

    def _fission_place_block(self, block: AudioBlock) -> None:
        """Write silence if the block does not follow the file's last frame."""
        layout, file = self._fission_layout_for(block), self._fission_sink_file
        if file is None:
            return
        written = (file.size - layout.header_bytes) // layout.frame_bytes
        if not written or self._fission_origin == UNKNOWN:
            self._fission_number(block.first_sample - written)
            return
        missing = block.first_sample - self._fission_origin - written
        if 0 < missing <= self.MAX_GAP_S * layout.rate:
            self.gaps += 1
            self.filled_frames += missing
            self._fission_report(self.gaps, f"gap of {missing} frames before frame {block.first_sample} filled with silence")
            while missing > 0:
                piece = min(missing, _PIECE_FRAMES)
                self.append(layout.zeros(piece))
                missing -= piece
        elif missing:
            self.jumps += 1
            expected = block.first_sample - missing
            self._fission_report(self.jumps, f"a block begins with frame {block.first_sample} instead of {expected}; appended as it is")
            # What was written is placed by the old number, so it must not be cut off after the new one is in the header.
            file.flush()
            file.sync()
            self._fission_number(block.first_sample - written)

    def _fission_number(self, first_sample: int) -> None:
        """Write the number of the file's first frame before the block that determines it, so that a new incarnation expects the same."""
        if first_sample != self._fission_origin:
            self._fission_origin = first_sample
            self._fission_update_header()

    def _fission_report(self, count: int, text: str) -> None:
        if count & (count - 1) == 0:  # 1, 2, 4, 8, ...: a stream full of gaps must not fill the log
            sys.stderr.write(f"{self._fission_name}: {text}{f' (number {count})' if count > 1 else ''}\n")
