"""What a run begins with: a folder of its own, or that of the run that it continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fission import durable
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.client.folders import run_folders
from fission.client.folders.endings import OUTPUT_FILE, keep_output
from fission.client.folders.run_folders import EVENTS
from fission.client.folders.work_folder import described, fill_folder
from fission.client.run.jobs.bundles import plans
from fission.client.run.network_run import CHECKPOINTS
from fission.client.run.storage.checkpoint_service import check_stored
from fission.client.run.storage.resume_state import CURE, ResumeState, read_history, read_record
from fission.errors import UserError
from fission.project.config import LoadedNetwork
from fission.protocol.resumption import Beginning, RunRecord, resume_or_start

#: In the run's folder: the file with the identity by which nodes know the run, and its key with the jobs.
IDENTITY, JOBS = "run.json", "jobs"


def resumes(loaded: LoadedNetwork, notice: Callable[[str], None]) -> bool:
    """Return whether the last run continues, rather than a new one begins; the user is notified why.

    Args:
        loaded: the network.
        notice: called with texts for the user.

    Raises:
        UserError: what is left of the last run is damaged.
    """
    try:
        folder = run_folders.to_resume(loaded.folder)
    except run_folders.NoRunError:
        notice(f"{loaded.name}: a new run begins: there is no earlier one")
        return False
    record = read_record(folder) if run_folders.started(folder) else RunRecord(began=False)
    continues = resume_or_start(record) is Beginning.RESUME
    if continues:
        how = f"it ended with: {record.reason}" if record.exit_code is not None else "its client was stopped or killed"
        notice(f"{loaded.name}: the run {folder.resolve().name} continues; {how}")
    else:
        how = "has started no job" if not record.began else "has finished"
        notice(f"{loaded.name}: a new run begins: the last one, {folder.resolve().name}, {how}")
    return continues


@dataclass(frozen=True, slots=True)
class Start:
    """What a new or resumed run begins with.

    Attributes:
        loaded: the network.
        folder: folder of the run.
        identity: identity by which nodes know the run.
        output: file behind standard output and standard error, if it belongs in the folder of the
            run.
        resume: whether the run is resumed.
        failed: whether it is resumed even if the network has failed, or had no place for a job.
    """

    loaded: LoadedNetwork
    folder: Path
    identity: str
    output: Path | None
    resume: bool
    failed: bool = False

    def state(self) -> tuple[ResumeState | None, tuple[str, ...]]:
        """Return the state of the run to resume, None for a new run; and warnings."""
        if not self.resume:
            return None, ()
        state = read_history(self.folder, plans(self.loaded.network, self.loaded.config.restarts), failed=self.failed)
        _check_jobs(self.folder, self.loaded)
        jobs = [job for job in self.loaded.network.jobs if job not in state.network.finished]
        check_stored(FileCheckpoints(self.folder / CHECKPOINTS), jobs, state.stored)
        self._keep_output()  # before there are processes with the same standard output
        torn = f"{self.folder / EVENTS}: its last {state.torn_bytes} bytes are an entry that was not written to its end"
        return state, (torn,) if state.torn_bytes else ()

    def make_folders(self) -> None:
        """Prepare the folder of the run.

        Raises:
            UserError: the folder cannot be written.
        """
        if not self.resume:
            run_folders.make_run(self.folder, self._fill)
            self._keep_output()
            run_folders.remove_old(self.loaded.folder, self.loaded.config.keep_runs, self.folder)
            return
        try:
            fill_folder(self.loaded, self.folder)
            if self.folder.name != run_folders.LOCAL:
                run_folders.point(self.loaded.folder, self.folder)
        except OSError as why:
            raise UserError(f"{self.folder}, where the jobs work, cannot be written: {why}") from None

    def _keep_output(self) -> None:
        if self.output is not None:
            try:
                keep_output(self.output, self.folder)
            except OSError as why:
                raise UserError(f"{self.folder / OUTPUT_FILE} cannot be written: {why.strerror or why}") from None

    def _fill(self, folder: Path) -> None:
        fill_folder(self.loaded, folder)
        durable.write_whole(folder / EVENTS, durable.seal({"s": 0, "what": "Run", "run": self.identity, "network": self.loaded.name}))
        durable.write_json(folder / IDENTITY, {"run": self.identity, JOBS: _jobs_of(self.loaded)})


def identity_of(folder: Path) -> str:
    """Return the identity by which nodes know the run in a folder.

    Raises:
        UserError: its file is missing, damaged or of another version of FISSION.
    """
    path = folder / IDENTITY
    try:
        return str(durable.read_json(path)["run"])
    except durable.DamagedFileError as why:
        raise UserError(f"the run cannot be resumed: {why}; {CURE}") from None
    except KeyError:
        raise UserError(f"the run cannot be resumed: {path} is of another version of FISSION; {CURE}") from None
    except OSError as why:
        text = f"there is no run to resume in {folder}: {path}: {why.strerror or why}; start one without --resume"
        raise UserError(text) from None


def _jobs_of(loaded: LoadedNetwork) -> dict[str, str]:
    return {str(number): described(job) for number, job in loaded.network.jobs.items()}


def _check_jobs(folder: Path, loaded: LoadedNetwork) -> None:
    """Check that a run has the jobs and pipes of the network.

    Raises:
        UserError: config.py has changed in a way with which the run cannot continue.
    """
    then = durable.read_json(folder / IDENTITY).get(JOBS)
    if not isinstance(then, dict):
        return  # made by an older version
    now = _jobs_of(loaded)
    for number in sorted({*then, *now}, key=int):
        was, became = (" ".join(str(jobs.get(number, "missing")).split()) for jobs in (then, now))
        if was != became:
            raise UserError(
                f"the run in {folder} must have the jobs and pipes of config.py to be resumed, but job {number} was {was!r} there and is "
                f"{became!r} now; undo the change, or start the network again, without --resume (fission {loaded.name} run)"
            )
