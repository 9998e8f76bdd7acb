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
from fission.core.sink_journal import JOURNAL
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


def test_notes_that_lack_acknowledged_blocks_are_refused_with_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with collecting():
        job = BytesSinkJob("rows", inputs=[PicklePipe(1)])
    with closing(SinkFile(Path("rows"), to_device=True)) as file:
        file.begin(0, 1)
        for number in range(1, 41):
            file.append(b"x")
            file.record(0, number)
            file.flush()
        file.sync()
    journal = Path(JOURNAL)
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2 + 5])
    with closing(SinkFile(Path("rows"))) as file:
        sink = SinkSync(job, file, pytest.fail)
        known = sink.first_number(0) - 1
        with pytest.raises(SinkFileError, match=f"damaged after compute block {known}, but all up to 32 were written and acknowledged"):
            sink.begin(0, 33, acknowledged=32)
        assert Path("rows").stat().st_size == 40
        sink.begin(0, known + 1, acknowledged=known)  # what the producers still keep arrives again
        assert Path("rows").stat().st_size == known
