"""The page's certificate: real handshakes, in memory, with clients that trust its authority alone."""

from __future__ import annotations

import asyncio
import ssl
import stat
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fission.dashboard.certificates import CA_FILE, CA_KEY_FILE, DAYS, RENEW_DAYS, PageCertificate, authority_text, server_context
from fission.dashboard.server import keep_valid
from fission.errors import UserError

NOW = datetime.now(timezone.utc)
NAMES = ("localhost", "127.0.0.1", "::1", "192.168.4.1", "fd79::1", "board-1.local")


def client(folder: Path) -> ssl.SSLContext:
    """Return a client that trusts the page's authority and no other, and is strict."""
    context = ssl.create_default_context(cadata=authority_text(folder, NOW).decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def handshake(context: ssl.SSLContext, server: ssl.SSLContext, name: str) -> str | None:
    """Perform one and return its version of TLS.

    Raises:
        ssl.SSLError: a side refuses the other.
    """
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [context.wrap_bio(one, other, server_hostname=name), server.wrap_bio(other, one, server_side=True)]
    for _ in range(10):
        done = True
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                done = False
        if done:
            return ends[0].version()
    raise AssertionError("the handshake does not end")


def made(folder: Path, now: datetime = NOW, names: tuple[str, ...] = NAMES) -> PageCertificate:
    found = PageCertificate(folder, names)
    assert found.renew(now)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_only_this_authority_connects(tmp_path: Path, name: str) -> None:
    assert handshake(client(tmp_path), server_context(made(tmp_path)), name) == "TLSv1.3"


@pytest.mark.parametrize("name", ["evil.example", "192.168.4.2", "board-1", "fd79::2"])
def test_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(client(tmp_path), server_context(made(tmp_path)), name)


def test_who_does_not_trust_the_authority_is_warned(tmp_path: Path) -> None:
    server = server_context(made(tmp_path))
    for context in (ssl.create_default_context(), client(tmp_path / "other")):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context, server, "localhost")


def test_an_expired_certificate_is_refused_and_renewed(tmp_path: Path) -> None:
    certificate = made(tmp_path, NOW - timedelta(days=DAYS + 1))
    server = server_context(certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(client(tmp_path), server, "localhost")
    trusting = client(tmp_path)
    assert certificate.renew(NOW)
    server.load_cert_chain(certificate.cert_file, certificate.key_file)
    assert handshake(trusting, server, "localhost"), "the authority has stayed: browsers still trust it"


@pytest.mark.parametrize("by", ["itself", "another server"])
def test_the_certificate_of_a_running_server_is_renewed_before_it_expires(tmp_path: Path, by: str) -> None:
    certificate = made(tmp_path, NOW - timedelta(days=DAYS + 1))
    server, trusting = server_context(certificate), client(tmp_path)
    if by == "another server":
        assert PageCertificate(tmp_path, NAMES).renew(NOW)
        assert not certificate.renew(NOW)

    async def serve() -> None:
        task = asyncio.create_task(keep_valid(certificate, server, 0.01))

        async def is_renewed() -> None:
            while True:
                try:
                    handshake(trusting, server, "localhost")
                    return
                except ssl.SSLCertVerificationError:
                    await asyncio.sleep(0.01)

        await asyncio.wait_for(is_renewed(), 30)
        task.cancel()

    asyncio.run(serve())


def test_it_is_renewed_only_when_it_must_be(tmp_path: Path) -> None:
    certificate = made(tmp_path)
    assert not certificate.renew(NOW)
    assert not certificate.renew(NOW + timedelta(days=DAYS - RENEW_DAYS - 1))
    assert not PageCertificate(tmp_path, NAMES[:2]).renew(NOW), "it has more names than are needed"
    assert PageCertificate(tmp_path, (*NAMES, "10.0.0.1")).renew(NOW), "the machine has another address"
    assert PageCertificate(tmp_path, NAMES).renew(NOW + timedelta(days=DAYS - RENEW_DAYS + 1))


@pytest.mark.parametrize("fault", ["empty", "no key", "another key"])
def test_a_damaged_certificate_is_made_again(tmp_path: Path, fault: str) -> None:
    certificate = made(tmp_path)
    if fault == "empty":
        certificate.cert_file.write_bytes(b"")
    elif fault == "no key":
        certificate.key_file.unlink()
    else:
        certificate.key_file.write_bytes((tmp_path / CA_KEY_FILE).read_bytes())
    assert certificate.renew(NOW)
    assert handshake(client(tmp_path), server_context(certificate), "localhost")


def test_a_damaged_authority_is_named_and_not_replaced(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / CA_FILE).write_bytes(b"nothing")
    with pytest.raises(UserError, match="remove both"):
        PageCertificate(tmp_path, NAMES).renew(NOW)


def test_all_files_are_the_users_alone(tmp_path: Path) -> None:
    made(tmp_path / "keys")
    files = list((tmp_path / "keys").iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    (tmp_path / "keys" / CA_KEY_FILE).chmod(0o640)
    with pytest.raises(UserError, match="must be secret"):
        PageCertificate(tmp_path / "keys", NAMES).renew(NOW)


def old(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Let a context speak an old version of TLS and no newer one."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = server_context(made(tmp_path))
    server.set_ciphers("ALL:@SECLEVEL=0")  # the version alone must be the reason
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        handshake(old(client(tmp_path), version), server, "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_server_without_that_limit_is_caught(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = old(server_context(made(tmp_path)), version)
    assert handshake(old(client(tmp_path), version), server, "localhost") in ("TLSv1", "TLSv1.1")
