"""examples/monitoring: promtool loads all of it, its tests find broken alerts, and each metric that it names is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fission.adapters.keys import default_folder
from fission.dashboard import pipeline_metrics
from fission.dashboard.metrics import families
from fission.dashboard.tokens import LOCAL_TOKEN_FILE, pages_folder
from tests.dashboard.answers import answers
from tests.dashboard.pages import page_of
from tests.dashboard.router_in_memory import MemoryRouter, numbers
from tests.e2e.support import network
from tests.waiting import DEADLINE_S, CommandLine, eventually

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


def test_the_configuration_names_the_file_of_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FISSION_KEYS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = pages_folder(default_folder()) / LOCAL_TOKEN_FILE
    assert f"cp ~/{path.relative_to(tmp_path)} token" in (EXAMPLES / "prometheus.yml").read_text()


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


#: Each block is late.
LISTED = """
Endless(outputs=[PicklePipe(1)]),
Show(inputs=[PicklePipe(1)], deadline=0.000001),
"""


@pytest.mark.soak
def test_a_real_prometheus_knows_which_job_is_late(
    fission: CommandLine, copy: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    """Its own labels must not replace those of the metrics, as a test of rules alone does not notice."""
    monkeypatch.setenv("FISSION_KEYS", str(copy / "keys"))
    fission.project(network("", LISTED))
    page = page_of(fission.start("net", "simulate", "--dashboard", "0"), "stderr")
    (copy / "token").write_text(page.token)
    text = (
        (copy / "prometheus.yml")
        .read_text()
        .replace("localhost:8787", f"127.0.0.1:{page.port}")
        .replace("scrape_interval: 5s", "scrape_interval: 500ms\n  evaluation_interval: 500ms")
    )
    (copy / "prometheus.yml").write_text(re.sub(r" +- localhost.*\n", "", text))
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{free_port}", "--storage.tsdb.path=data"]
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as prometheus:

        def ask(path: str) -> Any:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/api/v1/{path}", timeout=DEADLINE_S) as answer:
                    return json.load(answer)["data"]
            except urllib.error.URLError:
                return None  # it starts

        def late() -> Any:
            query = urllib.parse.urlencode({"query": "rate(fission_job_late_blocks_total[10s]) > 0"})
            return (ask(f"query?{query}") or {}).get("result")

        try:
            (found,) = eventually(late, DEADLINE_S, "that Prometheus has scraped late blocks")
            alerts = eventually(lambda: (ask("alerts") or {}).get("alerts"), DEADLINE_S, "that the alert is pending")
        finally:
            prometheus.terminate()
    assert found["metric"] == {"instance": f"127.0.0.1:{page.port}", "job": "fission", "job_name": "Show 2", "network": "net"}
    assert [(one["labels"]["alertname"], one["annotations"]["summary"]) for one in alerts] == [
        ("FissionBlocksLate", "blocks come late to Show 2 of net")
    ]
