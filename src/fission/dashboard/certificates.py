"""The certificate of a page at an address of the network, and the authority that signs it.

It is another authority than the one between machines (`fission.adapters.keys`), whose key no longer
exists: this one's key must stay, for the certificate is renewed before it expires. It signs for
pages alone: no machine of a network trusts it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission import durable, ownership
from fission.core.addresses import is_ip
from fission.errors import UserError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

#: Files in the folder of the pages. Readable by the user alone.
CA_FILE, CA_KEY_FILE = "ca.pem", "ca.key"
CERT_FILE, KEY_FILE = "page.pem", "page.key"
#: Days for which an authority is valid: it has to be trusted by hand. Arbitrary.
CA_DAYS = 3650
#: Days for which a certificate is valid. Arbitrary: browsers refuse more than 825 days.
DAYS = 90
#: A certificate is renewed when fewer days are left: a third, as is common for those that renew themselves.
RENEW_DAYS = 30
#: Clocks of browsers may be late.
EARLY = timedelta(days=1)


class PageCertificate:
    """The certificate of one host, in the folder of the pages."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Name the certificate; nothing is read or made yet.

        Args:
            folder: of the pages.
            names: host names and addresses under which the page is opened.
        """
        self._folder, self._names = folder, sorted(set(names))
        self.cert_file, self.key_file = folder / CERT_FILE, folder / KEY_FILE

    def renew(self, now: datetime) -> bool:
        """Make the certificate if there is none, or it soon expires, or it lacks a name.

        Args:
            now: current time, with its time zone.

        Returns:
            Whether a new one was made.

        Raises:
            UserError: the files cannot be read or written, others can change them, or the library
                cryptography is missing.
        """
        try:
            authority, key = _authority(self._folder, now)
            for path in (self.cert_file, self.key_file):
                _check(path)
            if self._is_good(authority, now):
                return False
            own, text = _signed(self._names, authority, key, now)
            _write(self.key_file, own)
            _write(self.cert_file, text)
        except OSError as why:
            raise UserError(f"the page's certificate cannot be kept in {self._folder}: {why.strerror or why}") from None
        return True

    def _is_good(self, authority: x509.Certificate, now: datetime) -> bool:
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature

        try:
            found = x509.load_pem_x509_certificate(self.cert_file.read_bytes())
            found.verify_directly_issued_by(authority)
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert_file, self.key_file)  # its key fits
            named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, TypeError, InvalidSignature, ssl.SSLError, x509.ExtensionNotFound):
            return False
        known = {*named.get_values_for_type(x509.DNSName), *map(str, named.get_values_for_type(x509.IPAddress))}
        left = found.not_valid_after_utc - now
        return known >= set(self._names) and found.not_valid_before_utc <= now and left >= timedelta(days=RENEW_DAYS)


def authority_text(folder: Path, now: datetime) -> bytes:
    """Return the authority's certificate, in PEM form, for browsers; it is made if there is none.

    Args:
        folder: of the pages.
        now: current time, with its time zone.

    Raises:
        UserError: as `PageCertificate.renew`.
    """
    try:
        _authority(folder, now)
        return (folder / CA_FILE).read_bytes()
    except OSError as why:
        raise UserError(f"the page's certificates cannot be kept in {folder}: {why.strerror or why}") from None


def server_context(certificate: PageCertificate) -> ssl.SSLContext:
    """Return what the server accepts connections with: TLS 1.2 and later, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    return context


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the authority's certificate and key, made if there are none or they have expired."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        how = "install it: python3 -m pip install cryptography"
        raise UserError(f"a page at this address needs the package cryptography, which is not installed; {how}") from None

    cert_file, key_file = folder / CA_FILE, folder / CA_KEY_FILE
    for path in (cert_file, key_file):
        _check(path)
    try:
        found = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), None)
        whole = isinstance(key, ec.EllipticCurvePrivateKey) and found.public_key() == key.public_key()
        if whole and found.not_valid_before_utc <= now and found.not_valid_after_utc - now >= timedelta(days=DAYS):
            return found, key  # type: ignore[return-value]
    except FileNotFoundError:
        pass
    except (ValueError, TypeError) as why:
        raise UserError(
            f"the page's authority is damaged: {cert_file} or {key_file} ({why}); remove both, and trust the next one"
        ) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = ec.generate_private_key(ec.SECP256R1())
    name = f"FISSION pages {x509.random_serial_number():x}"[:40]  # a browser that trusts several tells them apart
    text = _certificate(name, fresh.public_key(), name, fresh, (now - EARLY, now + timedelta(days=CA_DAYS)), None)
    _write(key_file, _private(fresh))
    _write(cert_file, text)
    return x509.load_pem_x509_certificate(text), fresh


def _signed(names: list[str], authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, now: datetime) -> tuple[bytes, bytes]:
    """Return (private key, certificate) of a server."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    own = ec.generate_private_key(ec.SECP256R1())
    above = str(authority.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    times = now - EARLY, min(now + timedelta(days=DAYS), authority.not_valid_after_utc)
    return _private(own), _certificate("FISSION page", own.public_key(), above, key, times, names)


def _certificate(
    name: str, public: Any, above: str, signer: ec.EllipticCurvePrivateKey, times: tuple[datetime, datetime], names: list[str] | None
) -> bytes:
    """Return a certificate: of a server with these names, or of an authority if there are none."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    authority = names is None
    builder = x509.CertificateBuilder(named(above), named(name), public, x509.random_serial_number(), *times)
    builder = builder.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
    may = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
    builder = builder.add_extension(may, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    if names is not None:
        alternatives = [x509.IPAddress(ip_address(text)) if is_ip(text) else x509.DNSName(text) for text in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _check(path: Path) -> None:
    """Raise UserError if others can read or change a file."""
    if path.exists():
        ownership.check(path, "the page's certificate", "move it away")
        if path.stat().st_mode & 0o077:
            raise UserError(f"{path} must be secret, but users other than its owner can read it; run: chmod 600 {path}")


def _write(path: Path, text: bytes) -> None:
    durable.write_whole(path, text, mode=0o600)
