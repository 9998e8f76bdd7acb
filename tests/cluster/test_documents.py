"""Version 4 of the tutorial on three hosts: operators are typed in another terminal while it runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cluster.support import Site
from tests.e2e.support import rows

MakeSite = Callable[..., Site]
EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "demo_network_v4"


def test_operators_are_typed_while_it_runs(cluster: MakeSite) -> None:
    site = cluster(3)
    site.fission.project({})
    root = site.fission.root
    for name in (NAME, "shared"):
        shutil.copytree(
            EXAMPLES / name, root / name, ignore=shutil.ignore_patterns("simulation", "local", "runs", ".fission-lock", "__pycache__")
        )
    config = root / NAME / "config.py"
    text = config.read_text().replace('192.0.2.1"', f'{site.network.client_ip}"')
    for number in (1, 2, 3):
        text = text.replace(f"192.0.2.1{number}", site[number].ip)
    # a busy machine must lose no node: a source without CHECKPOINT would count from 1 again
    config.write_text(re.sub(r"REMOTE_ROOT = .*", "", text) + "\nPULSE_INTERVAL = 2\n")
    client = site.start(network=NAME)
    joined = lambda: rows(root / NAME / "local/7/join.csv")[1:]  # noqa: E731
    site.until(lambda: len(joined()) >= 2, "two rows")
    for symbol in "*-":
        site.fission.run(NAME, "send", "1", "--line", symbol, exit_code=0, env=site.env)
        site.until(lambda: symbol in {row[4] for row in joined()}, f"rows with {symbol}")  # noqa: B023
    client.interrupt()
    client.wait(exit_code=130)
    found = joined()
    assert [(int(one), int(two), int(three)) for one, two, three, *_ in found] == [
        (number, 18 + 2 * number, 2 - number) for number in range(1, len(found) + 1)
    ]
    for one, two, three, result, symbol in found:
        first, second, third = int(one), int(two), int(three)
        values = {"+": first + second + third, "*": first * second * third, "-": first - second - third}
        assert int(result) == values[symbol]
    assert "".join(dict.fromkeys(row[4] for row in found)) == "+*-"
    for node in site.nodes.values():
        site.until(lambda: not node.jobs(NAME), "no jobs are left", 5)  # noqa: B023
