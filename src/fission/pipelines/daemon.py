"""What Router, Broker, Pipeliner and PipelineManager have in common: how they log, ask the Router,
and end.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fission.errors import RemoteProtocolError, UserError
from fission.pipelines.errors import DaemonError, KeysRefused, PipelineRefused, RouterAnswer, RouterUnreachable
from fission.posix.signals import sigterm_raises
from fission.protocol.messages.pipelines.wire import RouterReply, RouterRequest, convert, decode_object, encode

if TYPE_CHECKING:
    from fission.adapters.keys import Keys
    from fission.adapters.zmq_api import ApiClient, Protect

R = TypeVar("R", bound=RouterReply)

#: Ends an error about an answer that another program, or another version of FISSION, has given.
OLDER = "it is an older one or pypelinin's own; start the Router of this version"
#: What such Routers answer to a command that they do not know.
FOREIGN = ("unknown command", "undefined command", "syntax error")


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived: a daemon ends as with Ctrl-C."""


def quiet_logger(name: str) -> logging.Logger:
    """Return a logger that writes nowhere, for daemons that were given none."""
    logger = logging.Logger(name)
    logger.addHandler(logging.NullHandler())
    return logger


def read_keys(folder: str | Path | None) -> Keys | None:
    """Return the keys in a folder that `fission keys` has made; None for None.

    Raises:
        DaemonError: keys are missing, damaged, or readable by others; the text says what to do.
    """
    if folder is None:
        return None
    from fission.adapters.keys import load_keys

    if not isinstance(folder, (str, Path)):
        raise DaemonError(f"keys must be the folder that `fission keys` has made, or None, but is {folder!r}")
    try:
        return load_keys(Path(folder).expanduser().absolute())
    except UserError as error:
        raise DaemonError(str(error)) from None


def protect_with(keys: Keys | None, log: logging.Logger | None = None) -> Protect | None:
    """Return what makes sockets use these keys; None for None.

    Args:
        keys: of the Router.
        log: gets a warning for each peer that is refused; None: nothing is logged.
    """
    if keys is None:
        return None
    from fission.adapters.curve import Guard

    logger = quiet_logger("guard") if log is None else log
    return lambda context: Guard(context, keys, logger)


def tls_of(keys: Keys | None) -> Any:
    """Return Dask's `Security` for these keys; None for None."""
    if keys is None:
        return None
    from fission.adapters.cluster.worker import security

    return security(str(keys.ca_file), str(keys.cert_file), str(keys.key_file))


def sigterm_ends() -> AbstractContextManager[None]:
    """Have SIGTERM raise `Terminated` in the main thread inside a with-block."""
    return sigterm_raises(Terminated)


def ask(client: ApiClient, address: str, request: RouterRequest, kind: type[R], timeout: float, *, again: float = 1.0) -> R:
    """Send a request to the Router and return its answer.

    Args:
        client: connected to the Router.
        address: of the Router, for errors.
        request: what to ask; it may be sent several times.
        kind: class of the answer.
        timeout: seconds to wait for the answer.
        again: seconds after which the request is sent again.

    Raises:
        RouterUnreachable: there was no answer in time.
        KeysRefused: there was none because of the keys.
        PipelineRefused: the Router does not accept a pipeline.
        RouterAnswer: the Router answered with another error, or with something else than *kind*.
    """
    fields = ask_fields(client, address, request, timeout, again=again)
    try:
        answer: R = convert(fields, kind)
    except RemoteProtocolError as error:
        command = request.__struct_config__.tag
        raise RouterAnswer(f"the answer of the Router at {address} to {command!r} cannot be understood: {error}; {OLDER}") from None
    return answer


def ask_fields(client: ApiClient, address: str, request: RouterRequest, timeout: float, *, again: float = 1.0) -> Mapping[str, Any]:
    """Send a request to the Router and return the members of its answer, unchecked.

    Arguments and errors as `ask`.
    """
    data = client.request(encode(request), timeout, again=again)
    if data is None:
        if client.refusal:
            raise KeysRefused(address, timeout, client.refusal)
        raise RouterUnreachable(address, timeout)
    try:
        answer = decode_object(data)
    except RemoteProtocolError as error:
        raise RouterAnswer(f"the program at {address} is not a Router: {error}") from None
    if answer.get("answer") in FOREIGN:
        command = f"{request.__struct_config__.tag!r} as it is sent today ({answer['answer']})"
        raise RouterAnswer(f"the Router at {address} does not know the command {command}: {OLDER}")
    if answer.get("answer") == "error":
        error_class = PipelineRefused if answer.get("kind") == "refused" else RouterAnswer
        raise error_class(str(answer.get("error")))
    return answer


def host_of(address: str) -> str:
    """Return the host of ``tcp://HOST:PORT``."""
    return address.partition("://")[2].rpartition(":")[0]
