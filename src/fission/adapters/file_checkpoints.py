"""Snapshots and retained values as files, complete or absent.

A snapshot is written over an obsolete one, and the file then gets its new name
(`fission.durable.snapshot_files` says why). After a power cut, names may therefore be old, and a
file may hold a mixture of two snapshots. The content tells which snapshot a whole file holds; these
rules tell a snapshot that was never confirmed from one that is damaged:

- Each snapshot says which one was stable when it was written, and the name of a spare file, which
  one made it spare. Snapshots before those are not needed.
- A file is used again only if a snapshot that is on the device says that its old one is not needed.

So a mixture has a name that is not needed according to a whole file, or that of a spare one, and is
ignored. Any other file that is not whole was damaged.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fission import durable
from fission.durable import Label, Number
from fission.ports import JobId, PipeId

log = logging.getLogger("fission.client")

#: Names of snapshots, of files to use again and of retained values; files with other names do not belong to the store.
_SNAPSHOT = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_SPARE = re.compile(r"spare-(\d+)\.(\d+)\.(\d+)", re.ASCII)
_KEPT = re.compile(r"kept-(\d+)", re.ASCII)
#: Largest file that is used again. Arbitrary: the time for larger ones is that of writing them, and their disk space is given back.
REUSED_BYTES = 8 << 20
#: Number and bytes of a job's files that wait to be used again. Four snapshots are written at a time (`pending_writes`), several become
#: stable together, and the files of those before can be used again one snapshot later: twelve were in use where windows were full.
SPARES, SPARE_BYTES = 16, 32 << 20
#: When states have grown, later ones may be longer by this share in the same file. Arbitrary.
GROWTH = 0.25
#: A file is not used again for a state that needs less than this share of it. Arbitrary.
FILLED_SHARE = 4


@dataclass(slots=True)
class _Spare:
    path: Path
    number: Number  # of the snapshot that it holds
    size: int  # in bytes when it was recorded; `durable.overwrite` looks at the file


@dataclass(slots=True)
class _Survey:
    """What the files of a job hold, whatever their names."""

    needed: Number = (0, 0)  # snapshots before this one are not needed
    sequence: int = 0
    whole: dict[Number, tuple[Path, int]] = field(default_factory=dict)  # (file, size to use again, or 0)
    damaged: dict[Number, Path] = field(default_factory=dict)
    spares: list[_Spare] = field(default_factory=list)
    useless: list[Path] = field(default_factory=list)
    last_spare: int = 0


class _JobFiles:
    """The files of one job's snapshots. Hold `lock` for each call.

    Attributes:
        lock: protects the object.
    """

    def __init__(self, survey: _Survey) -> None:
        self.lock = threading.Lock()
        self.sizes = {number: size for number, (_, size) in survey.whole.items()} | dict.fromkeys(survey.damaged, 0)
        self.spares = survey.spares
        self._sequence, self._last_spare = survey.sequence, survey.last_spare
        self._needed = self._recorded = survey.needed  # the newest stable snapshot, and the newest that the device knows of

    def begin(self, number: Number, length: int) -> tuple[Label, _Spare | None]:
        """Begin to write a snapshot; return its label, and the file to use again, None for a new one."""
        self._sequence += 1
        label = Label(self._sequence, number, min(self._needed, number))
        least = durable.file_bytes(length)
        for spare in self.spares:
            if spare.number < self._recorded and least <= spare.size <= max(FILLED_SHARE * least, FILLED_SHARE * durable.PAGE_BYTES):
                self.spares.remove(spare)
                return label, spare
        return label, None

    def new_size(self, length: int) -> int:
        """Return the size of a new file for a state."""
        least = durable.file_bytes(length)
        grows = any(0 < size < least for size in (*self.sizes.values(), *(spare.size for spare in self.spares)))
        return durable.file_bytes(length, GROWTH) if grows and least <= REUSED_BYTES else least

    def written(self, label: Label, size: int) -> None:
        """Record that a snapshot is on the device, under its name."""
        self.sizes[label.number] = size if size <= REUSED_BYTES else 0
        self._recorded = max(self._recorded, label.needed)

    def stable(self, number: Number) -> list[Number]:
        """Record the stable snapshot; return those that are not needed."""
        self._needed = max(self._needed, number)
        return sorted(known for known in self.sizes if known < number)

    def keeps(self, size: int) -> bool:
        """Whether a file of this size, 0 if it is unknown, is used again."""
        kept = sum(spare.size for spare in self.spares)
        return 0 < size <= SPARE_BYTES - kept and len(self.spares) < SPARES

    def spare_name(self, stable: Number) -> str:
        """Return an unused name for a file to use again, whose snapshot this stable one replaces."""
        self._last_spare += 1
        return _spare_name(self._last_spare, stable)


class FileCheckpoints:
    """`fission.ports.CheckpointStore` in a folder.

    Each job has its own folder, with a file ``GENERATION.BLOCK`` for each snapshot,
    ``spare-NUMBER.GENERATION.BLOCK`` for each file to use again (the number of the snapshot that has
    made it spare), and ``kept-PIPE`` for each retained value. Other files are ignored.
    """

    def __init__(self, folder: Path) -> None:
        """Set the folder.

        Args:
            folder: folder of the store; the first write creates it.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._jobs: dict[JobId, _JobFiles] = {}  # those whose files have the names of what they hold

    def put(self, job: JobId, generation: int, block: int, state: bytes) -> None:
        number, files = (generation, block), self._files(job)
        with files.lock:
            label, spare = files.begin(number, len(state))
            size = files.new_size(len(state))
        if spare is None:
            self._make_folder(job)
            durable.write_whole(self._path(job, number), durable.snapshot_content(label, state, size))
        else:
            try:
                size = durable.overwrite(spare.path, label, state)
                durable.move(spare.path, self._path(job, number))
            except OSError:
                with suppress(OSError):
                    spare.path.unlink()
                raise
        with files.lock:
            files.written(label, size)

    def prune(self, job: JobId, generation: int, block: int) -> None:
        files = self._files(job)
        with files.lock:
            for number in files.stable((generation, block)):
                path, size = self._path(job, number), files.sizes[number]
                if files.keeps(size):
                    spare = _Spare(path.with_name(files.spare_name((generation, block))), number, size)
                    with suppress(FileNotFoundError):
                        durable.move(path, spare.path)
                        files.spares.append(spare)
                else:
                    durable.unlink(path)
                del files.sizes[number]

    def numbers(self, job: JobId) -> list[tuple[int, int]]:
        return sorted(self._paths(job))

    def folder(self, job: JobId) -> str:
        self._files(job)
        return str(self._folder / str(job))

    def load(self, job: JobId) -> list[tuple[int, int, bytes]]:
        found = []
        for number, path in sorted(self._paths(job).items()):
            try:
                found.append((*number, durable.read_snapshot(path, number)))
            except (durable.DamagedFileError, OSError) as why:
                log.warning("a snapshot cannot be used: %s", why)
        return found

    def pieces(self, job: JobId, generation: int, block: int) -> Iterator[bytes]:
        number = generation, block
        return durable.snapshot_pieces(self._paths(job).get(number, self._path(job, number)), number)

    def damaged(self, job: JobId) -> dict[tuple[int, int], str]:
        found = {}
        for number, path in sorted(self._paths(job).items()):
            try:
                for _ in durable.snapshot_pieces(path, number):
                    pass
            except durable.DamagedFileError as why:
                found[number] = str(why)
            except OSError as why:
                found[number] = f"{path} cannot be read: {why.strerror or why}"
        return found

    def keep(self, job: JobId, pipe: PipeId, group: bytes) -> None:
        self._make_folder(job)
        durable.write_record(self._folder / str(job) / f"kept-{pipe}", group)

    def kept(self, job: JobId) -> dict[PipeId, bytes]:
        matches = filter(None, map(_KEPT.fullmatch, self._names(job)))
        return {PipeId(int(match[1])): durable.read_record(self._folder / str(job) / match[0]) for match in matches}

    def _path(self, job: JobId, number: Number) -> Path:
        return self._folder / str(job) / f"{number[0]}.{number[1]}"

    def _make_folder(self, job: JobId) -> None:
        place = self._folder / str(job)
        if not place.is_dir():
            durable.make_folder(place)

    def _names(self, job: JobId) -> list[str]:
        try:
            return [path.name for path in (self._folder / str(job)).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _paths(self, job: JobId) -> dict[Number, Path]:
        """Return the file of each snapshot, damaged ones included."""
        if job in self._jobs:
            return {number: self._path(job, number) for name in self._names(job) if (number := _number(name)) is not None}
        survey = self._survey(job)
        return {number: path for number, (path, _) in survey.whole.items()} | survey.damaged

    def _files(self, job: JobId) -> _JobFiles:
        """Return the files of a job, each under the name of what it holds."""
        with self._lock:
            if job not in self._jobs:
                survey = self._survey(job)
                self._set_names(job, survey)
                self._jobs[job] = _JobFiles(survey)
            return self._jobs[job]

    def _survey(self, job: JobId) -> _Survey:
        """Read all files of a job; change nothing."""
        survey, found = _Survey(), []
        damaged: list[tuple[Number | None, Path]] = []
        unreadable: list[tuple[Number | None, Path]] = []
        for name in self._names(job):
            number, spare = _number(name), _SPARE.fullmatch(name)
            if number is None and spare is None:
                continue
            if spare:
                survey.last_spare = max(survey.last_spare, int(spare[1]))
                survey.needed = max(survey.needed, (int(spare[2]), int(spare[3])))
            path = self._folder / str(job) / name
            try:
                label, size = durable.read_label(path)
            except durable.DamagedFileError:
                damaged.append((number, path))
                continue
            except OSError as why:  # whatever its name, it may hold what was confirmed, for a store that can read it
                log.warning("%s is left alone, because it cannot be read: %s", path, why.strerror or why)
                unreadable.append((number, path))
                continue
            if label is None:
                label, size = Label(0, number or (0, 0), (0, 0)), 0
            survey.needed = max(survey.needed, label.needed)
            survey.sequence = max(survey.sequence, label.sequence)
            found.append((label.sequence, label.number, path, size if size <= REUSED_BYTES else 0))
        for _, number, path, size in sorted(found, reverse=True):
            if number >= survey.needed and number not in survey.whole:
                survey.whole[number] = path, size
            elif number < survey.needed and size and len(survey.spares) < SPARES:
                survey.spares.append(_Spare(path, number, size))
            else:
                survey.useless.append(path)
        for named, path in (*damaged, *unreadable):
            if named is not None and named >= survey.needed and named not in survey.whole:
                survey.damaged[named] = path
            elif (named, path) in damaged:
                survey.useless.append(path)
        return survey

    def _set_names(self, job: JobId, survey: _Survey) -> None:
        """Give each file the name of what it holds; what the names say is on the device afterwards.

        The files' contents are too: a client that was killed may not have waited for the device.
        """
        folder = self._folder / str(job)

        def set_aside(path: Path) -> Path:
            survey.last_spare += 1
            target = path.with_name(_spare_name(survey.last_spare, survey.needed))
            durable.move(path, target)
            return target

        for path in survey.useless:
            with suppress(OSError):
                durable.unlink(path)
        misnamed = {number: path for number, (path, _) in survey.whole.items() if path != self._path(job, number)}
        aside = {number: set_aside(path) for number, path in misnamed.items()}  # first out of each other's way
        for spare in survey.spares:
            if _number(spare.path.name) is not None:
                spare.path = set_aside(spare.path)
        for number, path in aside.items():
            durable.move(path, self._path(job, number))
        for number in survey.whole:
            durable.sync_file(self._path(job, number))
        if survey.whole or survey.spares or survey.useless:
            durable.sync_folder(folder)


def _spare_name(serial: int, stable: Number) -> str:
    return f"spare-{serial}.{stable[0]}.{stable[1]}"


def _number(name: str) -> Number | None:
    match = _SNAPSHOT.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None
