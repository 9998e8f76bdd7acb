"""A client that was killed, and what another one continues with."""

from __future__ import annotations

from itertools import dropwhile

from tests.e2e.failover import project_of
from tests.e2e.support import GONE_S, remains, rows
from tests.waiting import DEADLINE_S, CommandLine, eventually

JOBS = """
class Once(PythonJob):
    def run(self):
        yield "word"

class Both(PythonJob):
    def run(self, number, word):
        return word or "-"
"""
LISTED = """
Until(outputs=[PicklePipe(1)]),
Once(outputs=[OptionalPicklePipe(2)]),
Both(inputs=[PicklePipe(1), OptionalPicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""


def test_the_value_of_an_async_input_outlives_the_client(fission: CommandLine) -> None:
    """Its producer had ended, so only the client had it."""
    fission.project(project_of(LISTED, JOBS))
    folder = fission.root / "net/local"
    words = folder / "4/result.csv"
    for resume in ([], ["--resume"], ["--resume"]):
        before = len(rows(words)) if resume else 0
        client = fission.start("net", "run", *resume)
        eventually(lambda: rows(words)[-1:] == [["word"]] and len(rows(words)) > before + 20, DEADLINE_S, "the word, again and again")  # noqa: B023
        eventually((folder / ".checkpoints/3/kept-2").exists, DEADLINE_S, "the file of the word")
        client.process.kill()
        client.wait()
        eventually(lambda: not remains(fission.root), GONE_S, lambda: "; ".join(remains(fission.root)))
    (folder / "1/stop").touch()
    fission.run("net", "run", "--resume", exit_code=0)
    values = [value for (value,) in rows(words)[1:]]
    assert set(dropwhile(lambda value: value == "-", values)) == {"word"}
