"""The pipes of demo_dxcp."""

from __future__ import annotations

from fission.core.pipes import PicklePipe


class FramePipe(PicklePipe):
    """Carries `AudioBlock` objects of 2^11 samples; two at a time are the shift of 2^12 from one correlation to the next."""

    BLOCK_COUNT = 2


class ColumnPipe(PicklePipe):
    """Carries one value a compute block to the CSV file; `column` is its heading there."""

    column = ""


class SecondsPipe(ColumnPipe):
    column = "seconds"


class RateOffsetPipe(ColumnPipe):
    column = "rate_offset_ppm"


class TimeOffsetPipe(ColumnPipe):
    column = "time_offset_ms"


class ResidualPipe(ColumnPipe):
    column = "residual_ppm"
