"""The network's keys: made so that only their owner can read them, refused when they are incomplete or not secret."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import zmq
from cryptography import x509

from fission.adapters import keys
from fission.adapters.keys import default_folder, load_keys, make_keys
from fission.errors import UserError

NAMES = {"curve.public", "curve.secret", "pulse.key", "ca.pem", "node.pem", "node.key", "check"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "above" / "keys"
    make_keys(place)
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


# -- making


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_can_read_new_files(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    place.mkdir(mode=0o777)
    made = make_keys(place)
    assert mode(place) == 0o700
    assert {path.name: mode(path) for path in place.iterdir()} == dict.fromkeys(NAMES, 0o600)
    assert made == load_keys(place)


def test_new_keys_belong_together_and_are_not_shown(folder: Path) -> None:
    made = load_keys(folder)
    assert zmq.curve_public(made.secret) == made.public
    assert len(made.pulse) == 32
    assert len(made.name) == 16
    for secret in (made.secret.decode(), made.pulse.hex(), repr(made.pulse)):
        assert secret not in repr(made)


def test_two_networks_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = make_keys(tmp_path / "one"), make_keys(tmp_path / "two")
    for name in NAMES:
        assert (one.folder / name).read_bytes() != (two.folder / name).read_bytes()
    assert one.name != two.name


@pytest.mark.parametrize("year", [1970, 2024, 2040])
def test_certificates_are_valid_for_boards_without_a_clock_and_long_enough(tmp_path: Path, year: int) -> None:
    made = make_keys(tmp_path / "keys", now=datetime(year, 1, 2, tzinfo=timezone.utc))
    for file in (made.ca_file, made.cert_file):
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        assert certificate.not_valid_before_utc <= datetime(1970, 1, 1, 0, 1, tzinfo=timezone.utc)
        assert certificate.not_valid_after_utc.year >= max(year, 2026) + 19


def test_keys_are_not_replaced_by_mistake(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=f"{folder} already has keys; .*--renew"):
        make_keys(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    renewed = make_keys(folder, renew=True)
    assert renewed == load_keys(folder)
    assert not [name for name in NAMES if (folder / name).read_bytes() == before[name]]


def test_renew_also_makes_the_first_keys(tmp_path: Path) -> None:
    assert make_keys(tmp_path / "keys", renew=True) == load_keys(tmp_path / "keys")


@pytest.mark.parametrize("renew", [False, True])
def test_a_full_disk_leaves_the_old_content(folder: Path, monkeypatch: pytest.MonkeyPatch, renew: bool) -> None:
    place = folder if renew else folder.parent / "fresh"
    before = load_keys(folder)
    calls = iter(range(100))

    def fsync(descriptor: int) -> None:
        if next(calls) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="No space left on device"):
        make_keys(place, renew=renew)
    assert load_keys(folder) == before
    assert not [path for path in place.iterdir() if path.name not in NAMES]


def test_of_two_processes_that_make_keys_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, real = tmp_path / "keys", keys._tls_texts

    def slow(now: datetime) -> dict[str, bytes]:
        monkeypatch.setattr(keys, "_tls_texts", real)
        make_keys(place)
        return real(now)

    monkeypatch.setattr(keys, "_tls_texts", slow)
    with pytest.raises(UserError, match="already"):
        make_keys(place)
    load_keys(place)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(UserError, match="must be a folder"):
        make_keys(tmp_path / "keys")
    with pytest.raises(UserError, match="cannot write keys"):
        make_keys(tmp_path / "keys" / "deeper")


# -- loading


def test_no_keys(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=rf"there are no keys in {place}; .*scp -pr.*fission keys --dir"):
            load_keys(place)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"not complete \({name} missing\)"):
        load_keys(folder)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("harm", ["cut", "empty", "other", "rubbish", "huge"])
def test_damaged(folder: Path, tmp_path: Path, name: str, harm: str) -> None:
    text = (folder / name).read_bytes()
    other = (make_keys(tmp_path / "other").folder / name).read_bytes() if harm == "other" else b""
    harmed = {"cut": text[: len(text) // 2], "empty": b"", "other": other, "rubbish": b"\xff\x00" * 20, "huge": text * 1000}
    (folder / name).write_bytes(harmed[harm])
    with pytest.raises(UserError, match="damaged, or mixed from two sets"):
        load_keys(folder)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o601])
def test_readable_by_others(folder: Path, name: str, bits: int) -> None:
    (folder / name).chmod(bits)
    with pytest.raises(UserError, match=rf"^{folder / name} must be secret, but .*; run: chmod -R go= {folder}"):
        load_keys(folder)


def test_a_folder_that_others_can_change(folder: Path) -> None:
    folder.chmod(0o755)
    load_keys(folder)
    folder.chmod(0o775)
    with pytest.raises(UserError, match=f"chmod -R go= {folder}"):
        load_keys(folder)


def test_a_copy_is_as_good(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")  # keeps the modes, as scp -p
    copied, made = load_keys(tmp_path / "copy"), load_keys(folder)
    assert (copied.public, copied.secret, copied.pulse, copied.name) == (made.public, made.secret, made.pulse, made.name)


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.delenv("FISSION_KEYS", raising=False)
    assert default_folder() == Path("/home/user/.fission/keys")
    monkeypatch.setenv("FISSION_KEYS", "~/lab")
    assert default_folder() == Path("/home/user/lab")


# -- TLS of Dask


class Opened:
    """Says that it was unpickled, by the existence of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def security(made: keys.Keys) -> Any:
    from distributed import Security

    cert, key = str(made.cert_file), str(made.key_file)
    roles = {f"tls_{role}_{kind}": file for role in ("scheduler", "worker", "client") for kind, file in (("cert", cert), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=str(made.ca_file), **roles)


def test_dask_connects_with_the_keys_and_refuses_others(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from distributed import Scheduler, Worker
    from distributed.comm import connect
    from distributed.core import rpc

    ours, others = security(load_keys(folder)), security(make_keys(tmp_path / "other"))
    caplog.set_level(logging.CRITICAL, "distributed")

    async def everything() -> None:
        async with Scheduler(host="127.0.0.1", port=0, protocol="tls", security=ours, dashboard=False) as scheduler:
            options = {"security": ours, "nthreads": 1, "dashboard": False, "local_directory": str(tmp_path / "scratch")}
            async with Worker(scheduler.address, **options):
                assert scheduler.address.startswith("tls://127.0.0.1:")
                assert len(scheduler.workers) == 1
                async with rpc(scheduler.address, connection_args=ours.get_connection_args("client")) as talk:
                    assert (await talk.identity())["type"] == "Scheduler"
                # the message of a holder of the keys is unpickled (what the next ones must not reach)
                await send(connect, scheduler.address, ours, tmp_path / "reached")
                assert (tmp_path / "reached").exists()
                for number, stranger in enumerate((others, None)):
                    with pytest.raises(OSError, match=r"Timed out|timed out|TLS|SSL|[Cc]losed|reset|refused"):
                        await send(connect, scheduler.address, stranger, tmp_path / f"stranger{number}")
                assert not list(tmp_path.glob("stranger*"))
                assert len(scheduler.workers) == 1

    asyncio.run(everything())


async def send(connect: Any, address: str, whose: Any, path: Path) -> None:
    """Say something to the scheduler that shows whether it was unpickled, and wait until the scheduler ends the talk."""
    if whose is None:
        address, options = address.replace("tls://", "tcp://"), {}
    else:
        options = whose.get_connection_args("client")
    from distributed.protocol.serialize import ToPickle

    comm = await connect(address, timeout=5, deserialize=False, **options)
    try:
        await comm.write({"op": "identity", "reply": True, "value": ToPickle(Opened(path))})
        await comm.read()
    finally:
        comm.abort()
