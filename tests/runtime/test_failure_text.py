"""What the user reads about an error that has ended a job."""

from __future__ import annotations

from pathlib import Path

from fission.core.jobs import BytesSinkJob
from fission.core.pipes import PicklePipe
from fission.errors import DefinitionError, ValueFitError
from fission.runtime.report import failure_text


def text_of(act: object) -> str:
    try:
        act()  # type: ignore[operator]
    except Exception as error:
        return failure_text(error)
    raise AssertionError("it raised nothing")


def refuses() -> None:
    raise DefinitionError("folder '/x' must have recordings, but has none")


def test_a_fault_that_the_users_code_explains_is_its_text_alone() -> None:
    assert text_of(refuses) == "folder '/x' must have recordings, but has none"


def test_a_fault_that_fission_explains_names_the_users_line() -> None:
    sink = BytesSinkJob("x", inputs=[PicklePipe(1)])
    line = text_of.__code__.co_firstlineno + 2
    text = text_of(lambda: sink.append(b"1"))
    where = f" (called from runtime/{Path(__file__).name}:"
    assert text.startswith(f"{sink._fission_name}: its file is not open; setup must call super().setup(*args, **kwargs)" + where)
    assert int(text.rpartition(":")[2].rstrip(")")) > line
    assert "\n" not in text


def misfits() -> None:
    raise ValueFitError("it does not fit")


def fails_for_another_reason() -> None:
    try:
        misfits()
    except ValueFitError as why:
        raise DefinitionError("it cannot be") from why


def test_other_errors_have_a_traceback() -> None:
    for act, words in ((misfits, "in misfits"), (fails_for_another_reason, "in misfits"), (lambda: 1 / 0, "ZeroDivisionError")):
        text = text_of(act)
        assert text.startswith("Traceback (most recent call last):\n")
        assert words in text
