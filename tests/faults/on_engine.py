"""Runs jobs without pipes on a `LocalEngine` of one node, and returns what each printed, how it ended, and how long its end took."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fission.adapters.local_engine import LocalEngine
from fission.core.jobs import PythonJob
from fission.ports import JobBundle, JobExited, JobOutput, NodeName, Wiring
from fission.testing.stage import LINKS

HERE = NodeName("here")
#: Seconds that all jobs of a test may take; arbitrary, for a busy machine.
DEADLINE_S = 40.0


@dataclass
class Ended:
    """How one job has ended.

    Attributes:
        folder: its working folder.
        code: exit code of its process.
        report: the `ProcessReport` of its process; None: none was written.
        lines: what it has written, by stream.
        took_s: seconds from its line "now" to its end.
    """

    folder: Path
    code: int = 0
    report: Any = None
    lines: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    took_s: float = 0.0


def bundle(job: PythonJob, number: int, folder: Path, run_folder: str) -> JobBundle:
    return JobBundle(
        job_id=number,
        name=f"{type(job).__name__} {number}",
        network="net",
        incarnation=1,
        folder=str(folder),
        sys_path=tuple(path for path in sys.path if path),
        log_file=str(folder / "fission.log"),
        log_level="DEBUG",
        links=LINKS,
        wiring=Wiring(f"ipc://{run_folder}/{number}.data", f"ipc://{run_folder}/{number}.control", {}, {}, ""),
        feedback=frozenset(),
        max_queues={},
        plain=frozenset(),
        head_size=1,
        window_blocks=100,
        window_bytes=1 << 20,
        pickled_job=pickle.dumps(job),
    )


def run_on_engine(
    jobs: Sequence[PythonJob | None], folder: Path, *, during: Callable[[LocalEngine, dict[int, Ended]], bool] | None = None, **engine: Any
) -> list[Ended]:
    """Run jobs at once, each to its end; a job whose `end` is "stop" is stopped as by the client, after its line "now".

    Args:
        jobs: the jobs; None: `during` launches one.
        folder: folder in which each job gets its own.
        during: function called after every event; the run ends when it returns True, or when all jobs have ended.
        engine: further arguments of the `LocalEngine`.
    """
    found: dict[int, Ended] = {}
    try:
        return asyncio.run(asyncio.wait_for(_run(jobs, folder, during, engine, found), DEADLINE_S))
    except asyncio.TimeoutError:
        raise AssertionError(f"not over after {DEADLINE_S:g} s: {found}") from None


async def _run(
    jobs: Sequence[PythonJob | None],
    folder: Path,
    during: Callable[[LocalEngine, dict[int, Ended]], bool] | None,
    more: dict[str, Any],
    found: dict[int, Ended],
) -> list[Ended]:
    run_folder = tempfile.mkdtemp(prefix="fission-")
    engine = LocalEngine(run_folder, (HERE,), **more)
    try:
        await engine.open()
        for number, job in enumerate(jobs, 1):
            own = folder / str(number)
            own.mkdir()
            found[number] = Ended(own)
            if job is not None:
                await engine.launch(bundle(job, number, own, run_folder), HERE)
        began: dict[int, float] = {}
        left = set(found)
        async for event in engine.events():
            if isinstance(event, JobOutput):
                found[event.job_id].lines[event.stream] += event.lines
                if "now" in event.lines:
                    began[event.job_id] = time.monotonic()
                    if getattr(jobs[event.job_id - 1], "end", "") == "stop":
                        await engine.stop(event.job_id, 1, HERE, grace=1.0)
            elif isinstance(event, JobExited):
                one = found[event.job_id]
                one.code, one.report = event.code, event.report
                one.took_s = time.monotonic() - began.get(event.job_id, time.monotonic())
                left.discard(event.job_id)
            if (during is not None and during(engine, found)) or not left:
                break
        return list(found.values())
    finally:
        await engine.close()
        shutil.rmtree(run_folder, ignore_errors=True)  # a killed fork server could not
