"""Files that another user has made or can change are refused by name.

This covers the node's folder and its content, keys, and temporary folders.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fission.adapters.keys import load_keys, make_keys
from fission.adapters.run_folder import make_run_folder
from fission.errors import UserError
from fission.ownership import check, stranger
from fission.ports import Archive
from fission.project.archives import digest_of, pack
from fission.service.archive_store import ARCHIVES, ArchiveStore

#: The user "nobody": another user of this machine, with a process of its own.
OTHER = 65534


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp, with a path to it that is safe."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    for one in (tmp_path, *tmp_path.parents):
        if "pytest" in one.name:
            one.chmod(0o755)
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def as_other(work: Callable[[], object], folder: Path) -> int:
    """Do something as the other user, in a folder; return 1 if the system refused it."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            work()
        except OSError:
            os._exit(1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def packed(folder: Path, files: dict[str, str]) -> Archive:
    """Return an archive with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return pack([(name, folder / name) for name in files])


def make_open() -> None:
    os.umask(0)
    os.makedirs("root/.archives", 0o777)


def make_link() -> None:
    os.mkdir("his")
    os.symlink("his", "root")


#: Actions of the other user before the service starts.
BEFORE: dict[str, Callable[[], object]] = {
    "the root": lambda: os.mkdir("root"),
    "a folder above it": lambda: os.mkdir("root"),
    "with open modes": make_open,
    "a link to his own": make_link,
    "a link to ours": lambda: os.symlink("/var", "root"),
}


@pytest.mark.parametrize("name", BEFORE)
def test_a_root_that_another_user_has_made_is_refused(shared: Path, name: str) -> None:
    assert as_other(BEFORE[name], shared) == 0
    root = shared / "root" / "deeper" if name == "a folder above it" else shared / "root"
    with pytest.raises(UserError, match="belongs to the user nobody") as refusal:
        ArchiveStore(root).prepare()
    assert str(root) in str(refusal.value)
    assert "--root" in str(refusal.value)


@pytest.mark.parametrize(
    ("mode", "place"), [(0o777, "root"), (0o777, ARCHIVES), (0o777, "above"), (0o1777, "root"), (0o775, "root")], ids=str
)
def test_a_root_that_others_can_write_is_refused(shared: Path, mode: int, place: str) -> None:
    root = shared / "above" / "root"
    (root / ARCHIVES).mkdir(parents=True)
    changed = {"root": root, ARCHIVES: root / ARCHIVES, "above": root.parent}[place]
    os.chown(changed, 0, OTHER)
    changed.chmod(mode)
    with pytest.raises(UserError, match=r"can change .* \(chmod "):
        ArchiveStore(root).prepare()


def test_a_new_root_in_a_shared_folder_is_ours(shared: Path) -> None:
    root = shared / "fission" / "root"
    ArchiveStore(root).prepare()
    assert stranger(root / ARCHIVES) == ""
    assert as_other(lambda: os.mkdir("fission/root/.archives/x"), shared) == 1


def add(store: ArchiveStore, archive: Archive) -> None:
    assert store.add(archive.digest, 0, len(archive.content), archive.content)


#: Changes to an archive after its arrival.
SWAPS: dict[str, Callable[[Path], object]] = {
    "other code": lambda folder: (folder / "job.py").write_text("evil"),
    "one more file": lambda folder: (folder / "more.py").write_text("evil"),
    "one less": lambda folder: (folder / "job.py").unlink(),
    "runs": lambda folder: (folder / "tool.sh").chmod(0o755),
    "a link instead": lambda folder: ((folder / "job.py").unlink(), (folder / "job.py").symlink_to("tool.sh")),
    "his file": lambda folder: os.chown(folder / "job.py", OTHER, OTHER),
    "open to all": lambda folder: (folder / "job.py").chmod(0o666),
    "his compiled code": lambda folder: ((folder / "__pycache__").mkdir(), os.chown(folder / "__pycache__", OTHER, OTHER)),
}


@pytest.mark.parametrize("used", [False, True], ids=["before its first use", "between two uses"])
@pytest.mark.parametrize("name", SWAPS)
def test_an_archive_that_was_changed_is_refused(shared: Path, tmp_path: Path, name: str, used: bool) -> None:
    store = ArchiveStore(shared / "root")
    store.prepare()
    archive = packed(tmp_path / "files", {"job.py": "good", "tool.sh": "exit 0"})
    add(store, archive)
    if used:
        assert store.verified(archive.digest).is_dir()
    SWAPS[name](store.archive(archive.digest))
    for _ in range(2):
        with pytest.raises(UserError, match="are not safe to use"):
            store.verified(archive.digest)
        with pytest.raises(UserError, match="are not safe to use"):
            store.job_folder("net", 1, archive.digest, empty=True)


def test_an_archive_that_arrives_changed_is_refused(tmp_path: Path) -> None:
    store = ArchiveStore(tmp_path / "root")
    store.prepare()
    good, other = packed(tmp_path / "a", {"job.py": "good"}), packed(tmp_path / "b", {"job.py": "evil"})
    with pytest.raises(UserError, match="has arrived damaged"):
        store.add(good.digest, 0, len(other.content), other.content)
    assert not store.archive(good.digest).exists()
    with pytest.raises(UserError, match="must be hex digits"):
        store.add("../../../etc", 0, 1, b"x")


def test_a_tree_has_the_digest_of_its_archive(tmp_path: Path) -> None:
    """The tree has links, programs, names that are not text, and files with two names.

    Python's compiled code does not count.
    """
    folder = tmp_path / "files"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "data").write_bytes(bytes(range(256)))
    (folder / "tool").write_text("x")
    (folder / "tool").chmod(0o777)
    (folder / "link").symlink_to("deep")
    os.link(folder / "tool", folder / "twin")
    (folder / os.fsdecode(b"odd \xff")).write_text("")
    names = ["deep/er/data", "tool", "link", "twin", os.fsdecode(b"odd \xff")]
    archive = pack([(name, folder / name) for name in names])
    store = ArchiveStore(tmp_path / "root")
    store.prepare()
    add(store, archive)
    (store.archive(archive.digest) / "__pycache__").mkdir()
    (store.archive(archive.digest) / "__pycache__" / "x.pyc").write_text("")
    assert digest_of(store.archive(archive.digest)) == archive.digest
    assert store.verified(archive.digest) == store.archive(archive.digest)


def test_keys_of_another_user_are_refused(shared: Path) -> None:
    keys = shared / "mine" / "keys"
    make_keys(keys)
    assert load_keys(keys).folder == keys
    os.chown(keys / "pulse.key", OTHER, OTHER)
    with pytest.raises(UserError, match=r"pulse\.key belongs to the user nobody"):
        load_keys(keys)
    os.chown(keys / "pulse.key", 0, 0)
    os.chown(keys.parent, OTHER, OTHER)
    with pytest.raises(UserError, match=r"mine belongs to the user nobody"):
        load_keys(keys)


def test_a_temporary_folder_that_others_can_swap_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a socket's path would be too long below pytest's own folder
        shared = Path(name)
        monkeypatch.setattr("tempfile.tempdir", name)
        shared.chmod(0o1777)
        made = Path(make_run_folder())
        assert made.parent == shared
        assert made.stat().st_mode & 0o777 == 0o700
        shared.chmod(0o777)
        with pytest.raises(UserError, match="can be changed by other users"):
            make_run_folder(short_folders=[])


def test_a_path_that_does_not_exist_yet_has_no_owner(tmp_path: Path) -> None:
    check(tmp_path / "not" / "there" / "yet", "it", "do something")
