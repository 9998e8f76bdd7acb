"""The keys of a network: one folder of small files, made once and copied to each machine that takes part.

=============  ==========================================================================================
curve.public   the key pair of ZeroMQ's CURVE, in its text form (z85); all machines have the same one, so who
curve.secret   has it is one of us
pulse.key      32 random bytes as hex digits, for datagrams
ca.pem         the certificate that vouches for node.pem, and for nothing else: its key is thrown away
node.pem       the certificate of the client and of every node for TLS, and its key
node.key
check          a digest of the others, written last: a copy that lacks something or mixes two sets is found
=============  ==========================================================================================
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

#: Where the keys are, if it is not `default_folder`.
VARIABLE = "FISSION_KEYS"
PULSE_KEY_BYTES = 32  # what ChaCha20 takes
#: Boards without a clock of their own believe for a while that it is 1970.
VALID_FROM = datetime(1970, 1, 1, tzinfo=timezone.utc)
VALID_DAYS = 20 * 365  # arbitrary: longer than a board lives
#: The keys may be made on a machine whose clock is wrong as well; when these lines were written.
AT_LEAST_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
_FILES = ("curve.public", "curve.secret", "pulse.key", "ca.pem", "node.pem", "node.key")
_CHECK = "check"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 1 << 16  # of one file; arbitrary, a certificate has less than a thousand


@dataclass(frozen=True)
class Keys:
    """The keys of one network, as they lie in a folder.

    Attributes:
        folder: where they were read from.
        public, secret: CURVE keys in ZeroMQ's text form, 40 bytes each.
        pulse: 32 bytes for the authentication of datagrams.
        ca_file, cert_file, key_file: PEM files for TLS; the same for client and nodes.
        name: 16 hex digits that tell these keys from others; no secret.
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
        purpose: what it is needed for, for the message.
        cure: how to do without it, for the message.

    Raises:
        UserError: HOME is not set and the user is not in the system's list of users, as with a container's numeric uid.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise UserError(f"{purpose} needs a home folder, and user {os.getuid()} has none: set HOME, or {cure}") from None


class NoKeysError(UserError):
    """There are no keys at all in a folder."""


def default_folder() -> Path:
    """The folder in the environment's FISSION_KEYS, else ``~/.fission/keys``."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return home("the folder of the keys", f"set {VARIABLE} to a folder") / ".fission" / "keys"


def make_keys(folder: Path, *, renew: bool = False, now: datetime | None = None) -> Keys:
    """Make new keys: the folder with mode 0700, its files with 0600. Nobody can read them at any moment.

    Args:
        folder: is made, with what lies above it, if it is not there.
        renew: replace keys that are there.
        now: what time it is; by default the machine's clock.

    Raises:
        UserError: there are keys already and `renew` is false, the folder cannot be written, or a library is missing.
    """
    there = [name for name in (*_FILES, _CHECK) if os.path.lexists(folder / name)]
    if there and not renew:
        raise UserError(_exists(folder))
    texts = {**_curve_texts(), "pulse.key": os.urandom(PULSE_KEY_BYTES).hex().encode() + b"\n"}
    texts.update(_tls_texts(datetime.now(timezone.utc) if now is None else now))
    texts[_CHECK] = _digest(texts) + b"\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # it may have been there
        _write(folder, texts, replace=renew)
    except FileExistsError:
        if folder.is_dir():
            raise UserError(_exists(folder)) from None  # somebody else makes keys at this moment
        raise UserError(f"{folder} must be a folder for keys, but is a file; move it, or name another folder") from None
    except OSError as why:
        raise UserError(f"cannot write keys into {folder}: {why.strerror}; make it writable, or name another folder") from None
    return load_keys(folder)


def load_keys(folder: Path) -> Keys:
    """Read the keys of a network.

    Raises:
        UserError: they are not there, not all there, damaged, or others than their owner may read them; says what to do.
    """
    texts: dict[str, bytes] = {}
    try:
        if not folder.is_dir():
            raise NoKeysError(f"there are no keys in {folder}; {_get(folder, renew=False)}")
        places = (folder, *(folder / name for name in (*_FILES, _CHECK)))
        opened = [path for path in places if path.exists() and _too_open(path)]
        if opened:
            mend = f"chmod -R go= {quote(str(folder))}"
            raise UserError(f"others than its owner can read or change {opened[0]}, which must be secret: {mend}")
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
        name=_digest({"ca.pem": texts["ca.pem"]}).decode()[:16],  # of what is shown to everybody anyway
    )


def _exists(folder: Path) -> str:
    return f"there are keys in {folder} already; to replace them, on every node too: fission keys --dir {quote(str(folder))} --renew"


def _get(folder: Path, *, renew: bool) -> str:
    where = "" if folder == default_folder() else f" --dir {quote(str(folder))}"
    command = f"fission keys{where}{' --renew' if renew else ''}"
    return f"copy the whole folder from a machine that has them (scp -pr), or make new ones for all machines: {command}"


def _too_open(path: Path) -> bool:
    """Whether others may read a file; a folder only must not be theirs to change, its files are looked at one by one."""
    mode = path.stat().st_mode
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH if stat.S_ISDIR(mode) else _OTHERS))


def _digest(texts: Mapping[str, bytes]) -> bytes:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name} {len(texts[name])}\n".encode() + texts[name])
    return digest.hexdigest().encode()


def _write(folder: Path, texts: Mapping[str, bytes], *, replace: bool) -> None:
    """First all files under other names, so that a full disk leaves what was there; then each takes its place, the digest last."""
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
                os.link(path, folder / name)  # fails where there is one
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
    """A certificate for everybody, and the one that vouches for it, whose key is not kept: nobody can make a third one."""
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
        # What OpenSSL asks for when it is strict; the names do not matter, peers are known by addresses.
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
