"""What the standard variables of OpenTelemetry ask for. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from fission.protocol.spans import TelemetrySettings

#: The protocol of what is sent.
PROTOCOL = "http/protobuf"
_PREFIX = "OTEL_EXPORTER_OTLP"


def telemetry_settings(environment: Mapping[str, str]) -> TelemetrySettings:
    """Return what the standard variables of OpenTelemetry ask for.

    Nothing is sent unless an endpoint is named: its default, a collector on the same machine, would
    make each run try to reach one.

    Args:
        environment: variables by name.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return TelemetrySettings()
    problems: list[str] = []
    endpoints = {signal: _endpoint(environment, signal, problems) for signal in ("TRACES", "LOGS")}
    shown = ", ".join(dict.fromkeys(filter(None, endpoints.values())))
    return TelemetrySettings(bool(endpoints["TRACES"]), bool(endpoints["LOGS"]), shown, tuple(dict.fromkeys(problems)))


def _endpoint(environment: Mapping[str, str], signal: str, problems: list[str]) -> str:
    """Return where a signal is sent to; empty: it is not."""
    _, endpoint = _first(environment, f"{_PREFIX}_{signal}_ENDPOINT", f"{_PREFIX}_ENDPOINT")
    exporter = environment.get(f"OTEL_{signal}_EXPORTER", "").strip() or "otlp"
    if not endpoint or exporter == "none":
        return ""
    if exporter != "otlp":
        problems.append(f"OTEL_{signal}_EXPORTER must be otlp or none, but is {exporter!r}; nothing of it is sent")
        return ""
    variable, protocol = _first(environment, f"{_PREFIX}_{signal}_PROTOCOL", f"{_PREFIX}_PROTOCOL")
    if protocol and protocol != PROTOCOL:
        problems.append(f"{variable} must be {PROTOCOL}, but is {protocol!r}; nothing is sent by it")
        return ""
    variable, endpoint = _first(environment, f"{_PREFIX}_{signal}_ENDPOINT", f"{_PREFIX}_ENDPOINT")
    if not _is_address(endpoint):
        problems.append(f"{variable} must be an address such as http://HOST:4318, but is {endpoint!r}; nothing is sent to it")
        return ""
    return _without_password(endpoint)


def _first(environment: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first of these variables that has a value, and it."""
    return next(((name, environment[name].strip()) for name in names if environment.get(name, "").strip()), ("", ""))


def _is_address(text: str) -> bool:
    try:
        found = urlsplit(text)
        return found.scheme in ("http", "https") and bool(found.hostname) and (found.port is None or found.port > 0)
    except ValueError:
        return False


def _without_password(address: str) -> str:
    found = urlsplit(address)
    return found._replace(netloc=found.netloc.rpartition("@")[2], query="").geturl()
