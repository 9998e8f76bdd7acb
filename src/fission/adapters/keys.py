"""The keys of a network: one folder of small files, made once and copied to each machine.

=============  ====================================================================================
curve.public   the key pair of ZeroMQ's CURVE, in its text form (z85); all machines have the same
curve.secret   one, and its holders are members of the network
pulse.key      32 random bytes as hex digits, for datagrams
ca.pem         the certificate that signs node.pem and nothing else: its private key is discarded
node.pem       the TLS certificate of the client and of every node
node.key       the private key of node.pem
check          a digest of the others, written last: reveals incomplete copies and mixed sets
=============  ====================================================================================
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shlex import quote

from fission.errors import UserError
from fission.ownership import check, tree_stranger

#: Environment variable with the folder of the keys, if it is not `default_folder`.
VARIABLE = "FISSION_KEYS"
PULSE_KEY_BYTES = 32  # size of a ChaCha20 key
#: Boards without a real-time clock start in 1970 and run on that date for a while.
VALID_FROM = datetime(1970, 1, 1, tzinfo=timezone.utc)
VALID_DAYS = 20 * 365  # arbitrary: longer than a board lasts
#: The clock of the machine that makes the keys may be wrong as well; the date on which this line was written.
AT_LEAST_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
_FILES = ("curve.public", "curve.secret", "pulse.key", "ca.pem", "node.pem", "node.key")
_CHECK = "check"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 1 << 16  # of one file; arbitrary, a certificate has less than a thousand


@dataclass(frozen=True)
class Keys:
    """The keys of one network, as stored in a folder.

    Attributes:
        folder: folder from which the keys were read.
        public: public CURVE key in ZeroMQ's text form, 40 bytes.
        secret: secret CURVE key in ZeroMQ's text form, 40 bytes.
        pulse: 32 bytes for the authentication of datagrams.
        ca_file: PEM file of the signing certificate.
        cert_file: PEM file of the certificate, the same for client and nodes.
        key_file: PEM file of the certificate's private key, the same for client and nodes.
        name: 16 hex digits that distinguish these keys from others; not secret.
    """

    folder: Path
    public: bytes
    secret: bytes = field(repr=False)
    pulse: bytes = field(repr=False)
    ca_file: Path
    cert_file: Path
    key_file: Path
    name: str


def home(purpose: str, cure: str) -> Path:
    """Return the home folder of the user that runs this process.

    Args:
        purpose: purpose of the folder, for the message.
        cure: alternative to a home folder, for the message.

    Raises:
        UserError: HOME is not set and the user is not in the system's list of users, as with a
            container's numeric uid.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise UserError(f"{purpose} needs a home folder, and user {os.getuid()} has none: set HOME, or {cure}") from None


class NoKeysError(UserError):
    """A folder contains no keys at all."""


def default_folder() -> Path:
    """Return the folder in the environment variable FISSION_KEYS, else ``~/.fission/keys``."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return home("the folder of the keys", f"set {VARIABLE} to a folder") / ".fission" / "keys"


def make_keys(folder: Path, *, renew: bool = False, now: datetime | None = None) -> Keys:
    """Make new keys: the folder with mode 0700, its files with 0600 from the start.

    Args:
        folder: folder for the keys; missing folders are created with their parents.
        renew: whether to replace existing keys.
        now: current time; None uses the machine's clock.

    Raises:
        UserError: keys exist and `renew` is false, the folder cannot be written, or a library is
            missing.
    """
    there = [name for name in (*_FILES, _CHECK) if os.path.lexists(folder / name)]
    if there and not renew:
        raise UserError(_exists(folder))
    texts = {**_curve_texts(), "pulse.key": os.urandom(PULSE_KEY_BYTES).hex().encode() + b"\n"}
    texts.update(_tls_texts(datetime.now(timezone.utc) if now is None else now))
    texts[_CHECK] = _digest(texts) + b"\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # it may have existed with another mode
        _write(folder, texts, replace=renew)
    except FileExistsError:
        if folder.is_dir():
            raise UserError(_exists(folder)) from None  # another process is making keys at the same time
        raise UserError(f"{folder} must be a folder for keys, but is a file; move it, or name another folder") from None
    except OSError as why:
        raise UserError(f"cannot write keys into {folder}: {why.strerror}; make it writable, or name another folder") from None
    return load_keys(folder)


def load_keys(folder: Path) -> Keys:
    """Read the keys of a network.

    Raises:
        UserError: the keys are missing, incomplete, damaged, or accessible to users other than
            their owner; the message says what to do.
    """
    texts: dict[str, bytes] = {}
    try:
        if not folder.is_dir():
            raise NoKeysError(f"there are no keys in {folder}; {_get(folder, renew=False)}")
        places = (folder, *(folder / name for name in (*_FILES, _CHECK)))
        opened = [path for path in places if path.exists() and _too_open(path)]
        if opened:
            remedy = f"chmod -R go= {quote(str(folder))}"
            raise UserError(f"{opened[0]} must be secret, but users other than its owner can read or change it; run: {remedy}")
        check(folder, "the folder of keys", "make another one for keys, below folders that are yours or root's")
        if clause := tree_stranger(folder):
            raise UserError(f"the keys in {folder} must belong to the user who runs this, or to root, but {clause}")
        for name in (*_FILES, _CHECK):
            with contextlib.suppress(FileNotFoundError), open(folder / name, "rb") as file:
                texts[name] = file.read(_MAX_BYTES)
    except OSError as why:
        raise UserError(f"cannot read the keys in {folder}: {why.strerror}; they must belong to the user who runs this") from None
    missing = [name for name in (*_FILES, _CHECK) if name not in texts]
    if len(missing) > len(_FILES):
        raise NoKeysError(f"there are no keys in {folder}; {_get(folder, renew=False)}")
    if missing:
        raise UserError(f"the keys in {folder} are not complete ({', '.join(missing)} missing); {_get(folder, renew=True)}")
    if texts.pop(_CHECK).strip() != _digest(texts):
        raise UserError(f"the keys in {folder} are damaged, or mixed from two sets; {_get(folder, renew=True)}")
    return Keys(
        folder=folder,
        public=texts["curve.public"].strip(),
        secret=texts["curve.secret"].strip(),
        pulse=bytes.fromhex(texts["pulse.key"].decode()),
        ca_file=folder / "ca.pem",
        cert_file=folder / "node.pem",
        key_file=folder / "node.key",
        name=_digest({"ca.pem": texts["ca.pem"]}).decode()[:16],  # of the certificate, which is public anyway
    )


def only_keys(folder: Path, parent: Path) -> Path:
    """Return a new folder with a link to each file of a folder of keys: without what else may be there.

    Args:
        folder: the folder of keys.
        parent: existing folder for the new one.
    """
    made = parent / "keys"
    made.mkdir(mode=0o700)
    for name in (*_FILES, _CHECK):
        (made / name).symlink_to(folder / name)
    return made


def _exists(folder: Path) -> str:
    return f"{folder} already has keys; to replace them, here and on every node: fission keys --dir {quote(str(folder))} --renew"


def _get(folder: Path, *, renew: bool) -> str:
    where = "" if folder == default_folder() else f" --dir {quote(str(folder))}"
    command = f"fission keys{where}{' --renew' if renew else ''}"
    return f"copy the whole folder from a machine that has them (scp -pr), or make new ones for all machines: {command}"


def _too_open(path: Path) -> bool:
    """Return whether other users can read a file or change a folder.

    Readable folders are allowed because their files are checked one by one.
    """
    mode = path.stat().st_mode
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH if stat.S_ISDIR(mode) else _OTHERS))


def _digest(texts: Mapping[str, bytes]) -> bytes:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name} {len(texts[name])}\n".encode() + texts[name])
    return digest.hexdigest().encode()


def _write(folder: Path, texts: Mapping[str, bytes], *, replace: bool) -> None:
    """Write all files under temporary names, then move each into place, the digest last.

    A full disk thus leaves the existing files intact.
    """
    fresh = {name: folder / f".{name}.{os.getpid()}" for name in texts}
    try:
        for name, path in fresh.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(texts[name])
                file.flush()
                os.fsync(file.fileno())
        for name, path in fresh.items():
            if replace:
                os.replace(path, folder / name)
            else:
                os.link(path, folder / name)  # fails if the file exists
    finally:
        for path in fresh.values():
            path.unlink(missing_ok=True)


def _curve_texts() -> dict[str, bytes]:
    import zmq

    if not zmq.has("curve"):
        raise UserError(
            "this machine's ZeroMQ was built without CURVE, so it cannot encrypt; install pyzmq from its wheels: pip install pyzmq"
        )
    public, secret = zmq.curve_keypair()
    return {"curve.public": public + b"\n", "curve.secret": secret + b"\n"}


def _tls_texts(now: datetime) -> dict[str, bytes]:
    """Make one certificate for all machines, and the one that signs it.

    The signing key is discarded: a third certificate cannot be made.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError:
        how = "install it: python3 -m pip install cryptography"
        raise UserError(f"making keys needs the package cryptography, which is not installed; {how}") from None

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, above: str, signer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        public, authority = key.public_key(), name == above
        builder = x509.CertificateBuilder(named(above), named(name), public, x509.random_serial_number())
        builder = builder.not_valid_before(VALID_FROM).not_valid_after(max(now, AT_LEAST_NOW) + timedelta(days=VALID_DAYS))
        # Extensions that a strict OpenSSL requires; the names do not matter, peers are identified by addresses.
        may_sign = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        builder = builder.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        builder = builder.add_extension(may_sign, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        return builder.add_extension(signed_by, critical=False).sign(signer, hashes.SHA256())

    above, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("fission network", above, "fission network", above)
    leaf = certificate("fission node", key, "fission network", above)
    return {
        "ca.pem": root.public_bytes(Encoding.PEM),
        "node.pem": leaf.public_bytes(Encoding.PEM),
        "node.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
