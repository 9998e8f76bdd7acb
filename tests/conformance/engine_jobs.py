"""The job of the engine's conformance suite; its process imports it from here."""

from __future__ import annotations

from typing import Any

from fission.core.jobs import PythonJob


class Script(PythonJob):
    """Runs a piece of code, in which ``job`` is the job itself; `job.finish()` ends it.

    Args:
        code: Python code.
        ballast: size of the bytes that it carries.
    """

    def __init__(self, code: str, ballast: int = 0) -> None:
        super().__init__()
        self.code = code
        self.ballast = bytes(ballast)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        exec(self.code, {"job": self})
