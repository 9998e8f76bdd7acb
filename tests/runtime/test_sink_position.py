"""When a restarted sink is sure that its file is missing, and when it is not."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.core.base import collecting
from fission.core.jobs import BytesSinkJob, NpySinkJob, WavSinkJob
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


def rows_of_npy() -> int:
    return len(np.load("file"))


def rows_of_wav() -> int:
    with wave.open("file", "rb") as sound:
        return sound.getnframes()


MAKERS = [
    (lambda: NpySinkJob("file", inputs=[PicklePipe(1)]), np.arange(3.0), rows_of_npy),
    (lambda: WavSinkJob("file", 8000, inputs=[PicklePipe(1)]), np.zeros(1, np.int16), rows_of_wav),
]


@pytest.mark.parametrize(("make", "block", "rows"), MAKERS, ids=["npy", "wav"])
def test_a_header_counts_what_is_in_the_file_after_each_cut(
    make: Callable[[], Any], block: Any, rows: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before the next block, for which it may wait for hours."""
    monkeypatch.chdir(tmp_path)
    with collecting():
        first, second = make(), make()
    first.setup()
    sink = SinkSync(first, first._fission_sink_file, pytest.fail)
    sink.begin(0, 1, acknowledged=0)
    for number in (1, 2, 3):
        first.run(block)
        if number < 3:  # its process is killed before the third one is recorded
            sink.record(0, number)
            sink.flush()
    assert rows() == 3
    first._fission_sink_file.close()
    second.setup()
    with closing(second._fission_sink_file) as file:
        assert rows() == 2
        SinkSync(second, file, pytest.fail).begin(0, 2, acknowledged=0)
        assert rows() == 1
