"""examples/monitoring: promtool loads all of it, its tests find broken alerts, and each metric that it names is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fission.dashboard import pipeline_metrics
from fission.dashboard.metrics import families
from tests.dashboard.answers import answers
from tests.dashboard.router_in_memory import MemoryRouter, numbers

EXAMPLES = Path(__file__).parents[2] / "examples" / "monitoring"
ALERTS: list[dict[str, Any]] = yaml.safe_load((EXAMPLES / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana_dashboard.json").read_text())
METRIC = re.compile(r"\bfission_\w+")
#: What Grafana fills in, with a value.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$network": "net"}


def promtool(folder: Path, *words: str) -> tuple[bool, str]:
    """Return whether promtool is content, and what it says."""
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=30)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES, tmp_path / "monitoring"))


def expressions() -> Iterator[str]:
    """Yield the expressions of the dashboard, with what Grafana would fill in."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for text in found:
        for name, value in VARIABLES.items():
            text = text.replace(name, value)
        yield text


def test_promtool_loads_configuration_and_rules(copy: Path) -> None:
    (copy / "token").write_text("secret\n")
    for words in (("check", "config", "prometheus.yml"), ("check", "rules", "--lint-fatal", "alerts.yml")):
        good, said = promtool(copy, *words)
        assert good, said
    assert f"{len(ALERTS)} rules found" in said


def test_the_alerts_do_what_their_tests_say(copy: Path) -> None:
    good, said = promtool(copy, "test", "rules", "alerts_test.yml")
    assert good, said


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
@pytest.mark.parametrize("broken", ["never", "always"])
def test_a_broken_alert_is_caught(copy: Path, alert: str, broken: str) -> None:
    rules = yaml.safe_load((copy / "alerts.yml").read_text())
    rule = next(rule for rule in rules["groups"][0]["rules"] if rule["alert"] == alert)
    rule["expr"], rule["for"] = ("vector(1) > 2" if broken == "never" else "vector(1)"), "0s"
    (copy / "alerts.yml").write_text(yaml.safe_dump(rules))
    good, said = promtool(copy, "test", "rules", "alerts_test.yml")
    assert not good
    assert f"alertname: {alert}," in said


def test_promtool_understands_the_dashboard(copy: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    assert len(rules) > 20
    (copy / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    good, said = promtool(copy, "check", "rules", "panels.yml")
    assert good, said
    rules[0]["expr"] = "rate(fission_network_up{)"
    (copy / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert not promtool(copy, "check", "rules", "panels.yml")[0]


def test_each_metric_that_is_named_is_exported() -> None:
    router = MemoryRouter()
    found = [*families("net", "1", answers()), *pipeline_metrics.families("1", numbers(router))]
    router.talk.store.close()
    exported = {sample.name for family in found for sample in family.samples}
    named = {name for text in (*expressions(), *(rule["expr"] for rule in ALERTS)) for name in METRIC.findall(text)}
    named |= set(METRIC.findall((EXAMPLES / "alerts_test.yml").read_text()))
    assert len(named) > 20
    assert named <= exported


def test_the_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
