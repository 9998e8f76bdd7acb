"""What Router, Broker, Pipeliner and PipelineManager have in common: how they log, ask the Router, and end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.errors import DaemonError, KeysRefused, PipelineRefused, RouterAnswer, RouterUnreachable
from fission.pipelines.messages import decode, encode
from fission.posix.signals import sigterm_raises

if TYPE_CHECKING:
    from fission.adapters.keys import Keys
    from fission.adapters.zmq_api import ApiClient, Protect


#: What pypelinin's own Router answers where it does not understand.
OLDER = "it is an older one or pypelinin's own; start the Router of this version"
FOREIGN = ("unknown command", "undefined command", "syntax error")


class Ended(KeyboardInterrupt):
    """SIGTERM: a daemon ends as with Ctrl-C."""


def quiet_logger(name: str) -> logging.Logger:
    """A logger that writes nowhere, for daemons that got none."""
    logger = logging.Logger(name)
    logger.addHandler(logging.NullHandler())
    return logger


def read_keys(folder: str | Path | None) -> Keys | None:
    """The keys in a folder that `fission keys` has made; None for None.

    Raises:
        DaemonError: they are not there, not all there, damaged, or open to others; the text says what to do.
    """
    if folder is None:
        return None
    from fission.adapters.keys import load_keys

    if not isinstance(folder, (str, Path)):
        raise DaemonError(f"keys must be the folder that `fission keys` has made, or None, is {folder!r}")
    try:
        return load_keys(Path(folder).expanduser().absolute())
    except UserError as error:
        raise DaemonError(str(error)) from None


def protect_with(keys: Keys | None, log: logging.Logger | None = None) -> Protect | None:
    """What makes the Router's addresses, and who talks to them, use these keys; *log* gets a warning for who is refused."""
    if keys is None:
        return None
    from fission.adapters.curve import Guard

    logger = quiet_logger("guard") if log is None else log
    return lambda context: Guard(context, keys, logger)


def tls_of(keys: Keys | None) -> Any:
    """Dask's settings for these keys."""
    if keys is None:
        return None
    from fission.adapters.cluster.worker import security

    return security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file))


def sigterm_ends() -> AbstractContextManager[None]:
    """Have SIGTERM raise `Ended` in the main thread inside a with-block."""
    return sigterm_raises(Ended)


def ask(
    client: ApiClient, address: str, message: Mapping[str, Any], timeout: float, *, again: float = 1.0, needs: Iterable[str] = ()
) -> dict[str, Any]:
    """The Router's answer.

    Args:
        timeout: seconds.
        again: seconds after which the request is sent again; what it asks for must bear that.
        needs: names of fields that the answer must have.

    Raises:
        RouterUnreachable: there was none in time.
        KeysRefused: the same, and keys are the reason.
        PipelineRefused: it does not take what was handed in.
        RouterAnswer: it answered with another error, or with something that is no answer; an older Router does not know the command.
    """
    data = client.request(encode(message), timeout, again=again)
    if data is None:
        if client.refusal:
            raise KeysRefused(address, timeout, client.refusal)
        raise RouterUnreachable(address, timeout)
    try:
        answer = decode(data)
    except RemoteProtocolError as error:
        raise RouterAnswer(f"what answers at {address} is no Router: {error}") from None
    if answer.get("answer") in FOREIGN:
        asked = f"the command {message.get('command')!r} as it is sent today ({answer['answer']})"
        raise RouterAnswer(f"the Router at {address} does not know {asked}: {OLDER}")
    if answer.get("answer") == "error":
        error_class = PipelineRefused if answer.get("kind") == "refused" else RouterAnswer
        raise error_class(str(answer.get("error")))
    if missing := [name for name in needs if name not in answer]:
        raise RouterAnswer(f"the answer of the Router at {address} to {message.get('command')!r} has no {missing[0]!r}: {OLDER}")
    return answer


def host_of(address: str) -> str:
    """The host of ``tcp://HOST:PORT``."""
    return address.partition("://")[2].rpartition(":")[0]
