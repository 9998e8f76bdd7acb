"""How far a run came, according to its event log."""

from __future__ import annotations

from pathlib import Path

import pytest

from fission import durable
from fission.client.folders.run_folders import EVENTS
from fission.client.run.storage.resume_state import RESUMED, read_history, read_record
from fission.errors import UserError
from fission.protocol.resumption import RunRecord

RUN = {"s": 0, "what": "Run", "run": "0123", "network": "net"}
LAUNCH = {"s": 1, "what": "Launch", "job": 1, "incarnation": 1, "node": "client", "generation": 0}
FAILED = {"s": 2, "what": "Finish", "exit_code": 1, "reason": "Sum 1 failed", "error": "OSError"}
FINISHED = {"s": 2, "what": "Finish", "exit_code": 0, "reason": "finished", "error": ""}
RESUME = {"s": 0, "what": RESUMED}


def write(folder: Path, *entries: dict[str, object], torn: bytes = b"") -> None:
    (folder / EVENTS).write_bytes(b"".join(map(durable.seal, entries)) + torn)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((RUN,), RunRecord(began=False)),
        ((RUN, LAUNCH), RunRecord(began=True)),
        ((RUN, LAUNCH, FAILED), RunRecord(True, 1, "Sum 1 failed")),
        ((RUN, LAUNCH, FINISHED), RunRecord(True, 0, "finished")),
        ((RUN, LAUNCH, FAILED, RESUME), RunRecord(began=True)),
        ((RUN, LAUNCH, FAILED, RESUME, FINISHED), RunRecord(True, 0, "finished")),
    ],
)
def test_the_record(tmp_path: Path, entries: tuple[dict[str, object], ...], expected: RunRecord) -> None:
    write(tmp_path, *entries, torn=b'{"s": 3, "what": "Fini')  # what was not written to its end did not happen
    assert read_record(tmp_path) == expected


@pytest.mark.parametrize("content", [b"", b"\n", b'{"what": "Launch"}\n{"what": "Run"}\n' * 3])
def test_a_damaged_log_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / EVENTS).write_bytes(content)
    with pytest.raises(UserError, match=rf"{EVENTS} is damaged.*; restore the file .*fission NETWORK run"):
        read_record(tmp_path)


def test_an_entry_of_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, RUN, LAUNCH, {"what": "Finish", "outcome": "done"})
    with pytest.raises(UserError, match="of another version of FISSION"):
        read_record(tmp_path)


def test_only_a_failed_run_may_continue_after_its_end(tmp_path: Path) -> None:
    write(tmp_path, RUN, FAILED)
    assert read_history(tmp_path, [], failed=True).network.finished == frozenset()
    with pytest.raises(UserError, match=r"is over: Sum 1 failed; .* or continue it with --resume-or-start"):
        read_history(tmp_path, [])
    write(tmp_path, RUN, FAILED, RESUME)
    assert read_history(tmp_path, []).network.finished == frozenset()
    write(tmp_path, RUN, FINISHED)
    with pytest.raises(UserError, match=r"is over: finished; start the network again, without --resume$"):
        read_history(tmp_path, [], failed=True)
