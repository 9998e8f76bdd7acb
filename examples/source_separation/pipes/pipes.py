"""The pipes of source_separation."""

from __future__ import annotations

from fission.core.pipes import PicklePipe


class SoundPipe(PicklePipe):
    """Carries `SoundBlock` objects."""


class ColumnPipe(PicklePipe):
    """Carries one value a block to the CSV file; `column` is its heading there."""

    column = ""


class RoundPipe(ColumnPipe):
    column = "round"


class BlockPipe(ColumnPipe):
    column = "block"


class FirstLevelPipe(ColumnPipe):
    column = "level_1_db"


class SecondLevelPipe(ColumnPipe):
    column = "level_2_db"
