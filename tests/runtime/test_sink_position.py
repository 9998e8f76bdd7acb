"""When a restarted sink is sure that its file is missing, and when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fission.core.base import collecting
from fission.core.jobs import BytesSinkJob
from fission.core.pipes import PicklePipe
from fission.core.sink_file import SinkFile
from fission.errors import SinkFileError
from fission.runtime.sink_position import SinkSync


@pytest.fixture
def sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SinkSync]:
    """A sink whose folder is empty."""
    monkeypatch.chdir(tmp_path)
    with collecting(), closing(SinkFile(Path("rows"), to_device=False)) as file:
        yield SinkSync(BytesSinkJob("rows", inputs=[PicklePipe(1)]), file, pytest.fail)


def test_a_file_is_missing_if_its_producers_have_forgotten_blocks(sink: SinkSync) -> None:
    with pytest.raises(SinkFileError, match="rows is missing in the job's folder, but all compute blocks up to 32 were written"):
        sink.begin(0, 33, acknowledged=32)


def test_a_file_is_missing_also_if_a_producer_says_so_late(sink: SinkSync) -> None:
    """It was restarted at the same moment."""
    sink.begin(0, 1, acknowledged=0)
    with pytest.raises(SinkFileError, match="up to 32 were written"):
        sink.begin(0, 33, acknowledged=32)


def test_blocks_that_a_producer_still_keeps_were_never_in_the_file(sink: SinkSync) -> None:
    """The blocks of another input, which belonged to them, were lost with their source."""
    sink.begin(0, 33, acknowledged=0)
    assert sink.first_number(0) == 33
