"""What the standard variables of OpenTelemetry ask for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fission.adapters.telemetry_settings import telemetry_settings
from fission.protocol.spans import TelemetrySettings

HERE = "http://127.0.0.1:4318"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, TelemetrySettings()),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SERVICE_NAME": "mine"}, TelemetrySettings()),
        (ENDPOINT, TelemetrySettings(True, True, HERE)),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, TelemetrySettings()),
        ({**ENDPOINT, "OTEL_LOGS_EXPORTER": "none"}, TelemetrySettings(True, False, HERE)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, TelemetrySettings()),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://h/v1/logs"}, TelemetrySettings(False, True, "https://h/v1/logs")),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, TelemetrySettings(True, True, HERE)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@h:4318"}, TelemetrySettings(True, True, "http://h:4318")),
    ],
)
def test_the_standard_variables_say_what_is_sent(environment: Mapping[str, str], settings: TelemetrySettings) -> None:
    assert telemetry_settings(environment) == settings


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, but is 'grpc'; nothing is sent by it",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "must be an address such as http://HOST:4318, but is 'localhost:4318'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:port"}, "but is 'http://h:port'; nothing is sent to it"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"}, "but is 'http://'; nothing is sent to it"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_sent(environment: Mapping[str, str], problem: str) -> None:
    found = telemetry_settings({**ENDPOINT, **environment})
    assert (found.traces, found.logs) == (False, False)
    (line,) = found.problems
    assert problem in line


def test_one_signal_that_cannot_be_does_not_stop_the_other() -> None:
    found = telemetry_settings({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"})
    assert (found.traces, found.logs) == (False, True)
    assert found.problems == ("OTEL_TRACES_EXPORTER must be otlp or none, but is 'console'; nothing of it is sent",)
