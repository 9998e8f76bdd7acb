"""`run --resume-or-start`: one command that a service can call, however the last run ended."""

from __future__ import annotations

import re
import signal

import pytest

from tests.e2e.support import finish
from tests.e2e.test_run_here import JOBS, LISTED, Site
from tests.waiting import DEADLINE_S, CommandLine, Running, eventually

WORDS = ("net", "run", "--resume-or-start")


@pytest.fixture
def site(fission: CommandLine) -> Site:
    return Site(fission)


def continued(site: Site, how: str) -> Running:
    client = site.fission.start(*WORDS)
    client.wait_for(f"the run {site.folder.resolve().name} continues; {how}", stream="stderr")
    return client


def stops(client: Running, site: Site, number: int, exit_code: int) -> int:
    """End a client by a signal; return how many rows there are now."""
    client.signal(number)
    client.wait(exit_code=exit_code)
    site.gone()
    return len(site.sums())


@pytest.mark.slow
def test_it_starts_continues_after_each_kind_of_stop_and_begins_anew_after_the_end(site: Site) -> None:
    client = site.fission.start(*WORDS)
    client.wait_for("net: a new run begins: there is no earlier one", stream="stderr")
    site.flows(20)
    done = site.fission.run(*WORDS, exit_code=2)  # while it is alive
    assert "the network net is running already" in done.stderr
    rows = stops(client, site, signal.SIGTERM, 143)
    for number, exit_code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        client = continued(site, "its client was stopped or killed")
        site.flows(rows + 20)
        rows = stops(client, site, number, exit_code)
        site.check()
    client = continued(site, "its client was stopped or killed")
    site.flows(rows + 20)
    site.end()
    finish(client, site.fission.root, 0)
    site.check()
    assert len(list((site.fission.root / "net" / "runs").iterdir())) == 1
    last = site.folder.resolve()
    site.end_file.unlink()
    client = site.fission.start(*WORDS)
    client.wait_for(f"a new run begins: the last one, {last.name}, has finished", stream="stderr")
    eventually(lambda: site.folder.resolve() != last, DEADLINE_S, "a folder of its own")
    site.flows()
    site.end()
    finish(client, site.fission.root, 0)
    site.check()


BROKEN = """
class Fragile(Sum):
    RESTARTS = 0
    def run(self, number):
        if number > 30 and os.path.exists("../../../fault"):
            raise OSError("no disk")
        return super().run(number)
"""


def test_a_network_that_failed_continues_where_it_failed(fission: CommandLine) -> None:
    site = Site(fission, jobs=JOBS + BROKEN, listed=LISTED.replace("Sum(", "Fragile("))
    fault = fission.root / "net" / "fault"
    fault.touch()
    done = fission.run(*WORDS, exit_code=1)
    assert "OSError: no disk" in done.stderr
    rows = len(site.sums())
    done = fission.run("net", "run", "--resume", exit_code=2)
    assert "is over: Fragile 3 failed; start the network again, without --resume or continue it with --resume-or-start" in done.stderr
    fault.unlink()
    client = continued(site, "it ended with: Fragile 3 failed")
    site.flows(rows + 40)
    site.end()
    finish(client, fission.root, 0)
    site.check()


def test_what_cannot_continue_is_refused_in_one_line_and_stays(site: Site) -> None:
    client = site.fission.start(*WORDS)
    site.flows(20)
    stops(client, site, signal.SIGKILL, -signal.SIGKILL)
    folder, before = site.folder.resolve(), site.sums()

    def refused(pattern: str) -> None:
        done = site.fission.run(*WORDS, exit_code=2)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, done.stderr
        assert re.search(pattern, errors[0]), done.stderr
        assert "fission net run" in errors[0].replace("NETWORK", "net"), "what to do to begin anew"
        assert "Traceback" not in done.stderr
        assert site.sums() == before
        assert site.folder.resolve() == folder, "no other run has begun"

    for name, damage in (("events.jsonl", lambda content: content[:99] + b"\xff" + content[100:]), ("run.json", lambda content: b"")):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(damage(content))
        refused(f"{name} is damaged")
        (folder / name).write_bytes(content)
    config = site.fission.root / "net" / "config.py"
    text = config.read_text()
    config.write_text(
        text.replace("Sum(inputs=[PicklePipe(2)]", "PlainSum(inputs=[PicklePipe(2)]").replace(
            "\nJOBS", "\nclass PlainSum(Sum):\n    pass\n\nJOBS"
        )
    )
    refused("job 3 was 'Sum 3 inputs: PicklePipe 2 outputs: PicklePipe 3' there and is 'PlainSum 3 ")
    config.write_text(text)
    client = continued(site, "its client was stopped or killed")
    site.flows(len(before) + 20)
    site.end()
    finish(client, site.fission.root, 0)
    site.check()
