"""Real processes that are killed, stopped and resumed: the sink's file is that of a run without faults, and the console says why."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import pytest

from fission.client.run.engines import local
from fission.protocol.messages.client_to_job import WirePipe
from tests.e2e.failover import (
    CHAIN,
    DIAMOND,
    OFTEN,
    PATIENT,
    Ran,
    Stage,
    chain_rows,
    csv_of,
    diamond_rows,
    events,
    gated,
    killed_at_once,
    project_of,
    random_faults,
    seeded,
    stop_process,
)
from tests.e2e.support import column, finish, rows
from tests.waiting import CommandLine, eventually

MOVE = r"\w+ \d+ (-> \S+|again on \S+)( \(\d+ times\))?"
FAILOVER = re.compile(
    r"^(node \S+ is lost|\w+ \d+ died): .+; "  # what, why
    rf"(nothing to move|{MOVE}(, {MOVE})*); "  # what moved where
    r"\d+\.\d\d s, (1 block|\d+ blocks) replayed( \(\d+ times within [\d.]+ s\))?$"
)


pytestmark = pytest.mark.usefixtures("own_modules")


def check(ran: Ran, values: list[int], pipe: int) -> None:
    """Check that the run ended well, that its sink has exactly these values, and that each failover is one complete line."""
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert ran.result.read_bytes() == csv_of(values, pipe), ran
    for line in ran.failovers:
        assert FAILOVER.match(line), line


# -- many faults ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_thirty_random_faults(fission: CommandLine, seed: int) -> None:
    """Jobs and nodes killed, nodes and processes stopped and woken up, several at a time, over a diamond with BLOCK_COUNTs and state."""
    limit, faults = 2400, 30
    rng = seeded(seed)
    fission.project(project_of(DIAMOND.format(limit=limit)))
    quiet = Stage(fission).run(nodes=3)
    check(quiet, diamond_rows(limit), 5)
    undisturbed = quiet.result.read_bytes()

    ran = Stage(fission).run(random_faults(rng, faults, rows=limit // 2), nodes=3)
    assert ran.result.read_bytes() == undisturbed, ran
    check(ran, diamond_rows(limit), 5)
    assert len(ran.failovers) >= 5, ran


def test_chaos_by_the_command_line(fission: CommandLine) -> None:
    """The seed is on the console; the summary tells restarts and failovers as JSON and as text."""
    limit = 900
    fission.project(project_of(DIAMOND.format(limit=limit)))
    client = fission.start("net", "simulate", "--nodes", "3", "--chaos", "11:6", "--json")
    done = finish(client, fission.root, 0, 50)
    assert (fission.root / "net/simulation/5/result.csv").read_bytes() == csv_of(diamond_rows(limit), 5), done
    assert "repeat them with --chaos 11:6" in done.stderr
    summary = json.loads(done.stdout)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Failover: ")]
    assert len(summary["failovers"]) >= len(lines) > 0  # repeats are thinned out on the console
    expected = [f"Failover: {failover['what']}: {failover['why']}; " for failover in summary["failovers"]]
    for line in lines:
        assert FAILOVER.match(line.removeprefix("Failover: ")), line
        assert line.startswith(tuple(expected))
    assert all(any(line.startswith(start) for line in lines) for start in expected)
    assert sum(job["restarts"] for job in summary["jobs"].values()) > 0
    assert any(failover["moves"] for failover in summary["failovers"])


# -- one job ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [1, 2, 3, 4, 5], ids=["source", "executable", "connector", "stateful", "sink"])
def test_a_job_that_is_killed_again_and_again(fission: CommandLine, job: int) -> None:
    """20 times each, at random moments."""
    limit, kills = 500, 20
    rng = seeded(job)
    fission.project(project_of(gated(CHAIN).format(limit=limit), extra=PATIENT))

    async def script(stage: Stage) -> None:
        for number in range(kills):
            await stage.rows(number * limit // (kills + 5) + rng.randint(0, 20))
            await stage.until(lambda: stage.kill_job(job), "its process")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023 - awaited at once
        stage.let_end()

    ran = Stage(fission).run(script)
    check(ran, chain_rows(limit), 4)
    name = ran.summary.jobs[job].name
    for line in ran.failovers:
        assert line.startswith(f"{name} died: its process was killed by signal 9 (SIGKILL); {name} again on client; ")
    assert len(ran.failovers) == ran.restarts(job) == kills
    assert sum(ran.restarts(other) for other in range(1, 6)) == kills  # no other job was started again
    assert ran.failed == []  # a job that is killed has no error of its own to show
    text = "\n".join(ran.summary.lines())
    assert f"{kills} restarts" in text
    assert f"{name} again on client; " in text
    assert f"; {kills} times, the slowest is given" in text


def test_two_neighbours_that_are_killed_at_once(fission: CommandLine) -> None:
    limit = 500
    fission.project(project_of(gated(CHAIN).format(limit=limit), extra=PATIENT))

    pairs = [(1, 2), (2, 3), (3, 4), (4, 5), (3, 5), (1, 4), (2, 5), (1, 5), (2, 4), (1, 3)]
    check(Stage(fission).run(killed_at_once(pairs)), chain_rows(limit), 4)


def test_the_program_of_an_executable_job_is_killed(fission: CommandLine) -> None:
    limit = 300
    fission.project(project_of(gated(CHAIN, 45).format(limit=limit), extra=PATIENT))

    async def script(stage: Stage) -> None:
        for number in range(5):
            stage.let_go(50 * number + 45)
            await stage.rows(50 * number + 10)  # a program that dies twice at the same block is the end
            await stage.until(lambda: stage.kill_program(2), "the program")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023
        stage.let_end()

    ran = Stage(fission).run(script)
    check(ran, chain_rows(limit), 4)
    assert ran.restarts(2) == 5


# -- nodes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [1, 4], ids=["source", "stateful join"])
def test_the_node_of_a_job_is_killed_and_comes_back(fission: CommandLine, job: int) -> None:
    """Again and again, at random moments."""
    limit, kills = 800, 8
    rng = seeded(10 + job)
    fission.project(project_of(gated(DIAMOND).format(limit=limit), extra=PATIENT))

    async def script(stage: Stage) -> None:
        for number in range(kills):
            await stage.rows(number * limit // 2 // (kills + 2) + rng.randint(0, 20))
            node = await stage.until(lambda: stage.node_of(job), "its node")
            incarnation = stage.incarnations(job)[-1]
            assert stage.kill_node(node)
            await stage.revive(node)
            await stage.until(lambda: len(stage.failovers) > number and stage.incarnations(job) > [incarnation], "its new incarnation")  # noqa: B023
            await stage.until(lambda: stage.virtual_nodes[node].loaded, "its node takes jobs")  # noqa: B023 - else there is no other one
        stage.let_end()

    ran = Stage(fission).run(script, nodes=2)
    check(ran, diamond_rows(limit), 5)
    name = ran.summary.jobs[job].name
    assert len(ran.failovers) == kills
    for line in ran.failovers:
        lost = re.match(r"node (\d) is lost: its fork server died; ", line)
        assert lost, line
        assert f"{name} -> {3 - int(lost[1])}" in line, line  # the other one
    assert ran.restarts(5) == 0  # the sink is on the client


def test_two_nodes_at_once(fission: CommandLine) -> None:
    limit = 700
    fission.project(project_of(DIAMOND.format(limit=limit)))

    async def script(stage: Stage) -> None:
        for number, (first, second) in enumerate([("1", "2"), ("2", "3"), ("3", "1"), ("1", "2")]):
            await stage.rows(number * 70 + 20)
            stage.kill_node(first)
            stage.kill_node(second)
            await stage.revive(first)
            await stage.revive(second)
            await stage.running(1, 2, 3, 4)

    ran = Stage(fission).run(script, nodes=3)
    check(ran, diamond_rows(limit), 5)
    assert 5 <= len(ran.failovers) <= 8  # a node that dies again before its first pulse was not back, and does not count again


def test_a_node_that_is_cut_off_wakes_up_as_a_zombie(fission: CommandLine) -> None:
    """Cut off for longer than five pulses: its jobs restart elsewhere; its old processes, which know nothing, are fenced and killed."""
    limit = 1200
    fission.project(project_of(DIAMOND.format(limit=limit)))

    async def script(stage: Stage) -> None:
        for number in range(4):
            await stage.rows(number * 100 + 20)
            node = await stage.until(lambda: stage.node_of(4), "the join's node")
            jobs = sorted(stage.engine.nodes()[node].jobs)
            old = {job: stage.incarnations(job)[-1] for job in jobs}
            stage.engine.freeze(node)
            await stage.until(lambda: len(stage.failovers) == number + 1, "the failover")  # noqa: B023
            assert all(old[job] in stage.incarnations(job) for job in jobs)  # it is still frozen there
            before = stage.row_count()
            await stage.rows(before + 20)  # the network continues
            stage.engine.thaw(node)
            await stage.until(
                lambda: all(stage.incarnations(job) == [newest + 1] for job, newest in old.items()),  # noqa: B023
                "the end of the zombies",
            )

    ran = Stage(fission).run(script, nodes=2)
    check(ran, diamond_rows(limit), 5)
    assert len(ran.failovers) == 4
    assert all("is lost: 5 pulses missed: last one 0.5" in line for line in ran.failovers), ran


@pytest.mark.parametrize("nodes", [0, 2])
def test_a_busy_machine_is_not_a_dead_node(fission: CommandLine, nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with many processes: no node's pulse but its first is in time. No node is lost for that."""
    engine = local.LocalEngine

    def with_late_pulses(run_folder: str, names: Any, preload: Any, pulse_interval_s: float, *rest: Any, **named: Any) -> Any:
        return engine(run_folder, names, preload, 1000.0, *rest, **named)

    monkeypatch.setattr(local, "LocalEngine", with_late_pulses)
    limit = 700
    fission.project(project_of(DIAMOND.format(limit=limit)))
    ran = Stage(fission).run(nodes=nodes)
    check(ran, diamond_rows(limit), 5)
    assert not ran.failovers
    assert all(job.restarts == 0 for job in ran.summary.jobs.values())


def test_a_zombie_that_never_wakes_up(fission: CommandLine) -> None:
    """The network ends without it, and at its end it is gone too."""
    limit = 600
    fission.project(project_of(DIAMOND.format(limit=limit)))

    async def script(stage: Stage) -> None:
        await stage.rows(20)
        stage.engine.freeze(await stage.until(lambda: stage.node_of(4), "the join's node"))

    ran = Stage(fission).run(script, nodes=2)
    check(ran, diamond_rows(limit), 5)
    assert len(ran.failovers) == 1


def test_a_job_that_must_start_on_a_frozen_node(fission: CommandLine) -> None:
    """A node is lost while the other one is frozen, which the client does not know yet; the job that must start there is large."""
    limit = 600
    listed = DIAMOND.format(limit=limit).replace("Join(", "Big(")
    jobs = """
    class Big(Join):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.ballast = os.urandom(1 << 20)
    """
    fission.project(project_of(listed, jobs))

    async def script(stage: Stage) -> None:
        await stage.rows(20)
        node = await stage.until(lambda: stage.node_of(4), "the join's node")
        other = {"1": "2", "2": "1"}[node]
        stage.engine.freeze(other)
        stage.kill_node(node)
        await stage.revive(node)
        await stage.until(lambda: stage.node_of(4) == node, "the join on the node that has come back")
        stage.engine.thaw(other)

    check(Stage(fission).run(script, nodes=2), diamond_rows(limit), 5)


# -- what is not a failure -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["node", "job"])
def test_a_freeze_of_four_pulses_is_not_a_loss(fission: CommandLine, what: str) -> None:
    limit, interval = 400, 0.3
    fission.project(project_of(DIAMOND.format(limit=limit), extra=f"{OFTEN}PULSE_INTERVAL = {interval}\n"))

    async def script(stage: Stage) -> None:
        await stage.rows(20)
        await stage.running(4)
        if what == "node":
            await stage.fault("cut", stage.node_of(4), 4 * interval)
        else:
            await stop_process(stage.pid_of(4), 4 * interval)

    ran = Stage(fission).run(script, nodes=2)
    check(ran, diamond_rows(limit), 5)
    assert ran.failovers == []
    assert all(ran.restarts(job) == 0 for job in range(1, 6))


def test_a_long_call_that_holds_the_interpreter_is_not_a_failure(fission: CommandLine) -> None:
    jobs = """
    class Long(PythonJob):
        def run(self, value):
            import ctypes
            if value == 5:
                ctypes.PyDLL(None).usleep(2_000_000)  # PyDLL: the interpreter is not given away meanwhile
            return value
    """
    listed = """
    Numbers(50, outputs=[PicklePipe(1)]),
    Long(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(project_of(listed, jobs))
    ran = Stage(fission, sink=3).run(nodes=2)
    check(ran, list(range(1, 51)), 2)
    assert ran.failovers == []
    assert ran.summary.seconds > 2


def test_a_short_cut_and_an_unknown_name_by_the_command_line(fission: CommandLine) -> None:
    fission.project(project_of(DIAMOND.format(limit=300)))
    done = finish(fission.start("net", "simulate", "--nodes", "2", "--cut", "1@0.3+0.15"), fission.root, 0)
    assert "node 1 frozen for 0.15 s" in done.stderr
    assert "Failover" not in done.stderr
    for options, text in (
        (("--kill", "3@1"), "node '3' of --kill or --cut does not exist; nodes that can be lost: 1, 2"),
        (("--kill", "job:9@1"), "there is no job 9; there are 1, 2, 3, 4, 5"),
        (("--cut", "client@1+1"), "node 'client' of --kill or --cut does not exist"),
        (("--kill", "2"), "--kill must be NODE@SECONDS or job:ID@SECONDS"),
        (("--cut", "2@1"), "--cut must be NODE@SECONDS+DURATION"),
        (("--chaos", "7"), "--chaos must be SEED:RATE"),
    ):
        wrong = fission.run("net", "simulate", "--nodes", "2", *options, exit_code=2)
        assert text in wrong.stderr
        assert "started" not in wrong.stderr
    assert "none; say how many with --nodes" in fission.run("net", "simulate", "--kill", "1@1", exit_code=2).stderr


def test_kill_and_cut_by_the_command_line(fission: CommandLine) -> None:
    limit = 1500
    fission.project(project_of(DIAMOND.format(limit=limit)))
    options = ["--kill", "job:4@0.8", "--kill", "2@1.2", "--cut", "1@1.8+0.9"]
    done = finish(fission.start("net", "simulate", "--nodes", "3", *options), fission.root, 0, 40)
    assert (fission.root / "net/simulation/5/result.csv").read_bytes() == csv_of(diamond_rows(limit), 5), done
    for text in ("killed job 4", "killed node 2", "node 1 frozen for 0.90 s"):
        assert text in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Failover: ")]
    for text in ("Join 4 died: ", "node 2 is lost: its fork server", "node 1 is lost: 5 pulses missed"):
        (line,) = [line for line in lines if text in line]
        assert line.removeprefix("Failover: ") in done.stdout  # the summary has it again
    assert re.search(r"^  Join 4 +finished .*restart", done.stdout, re.MULTILINE)


# -- sources that cannot resume ---------------------------------------------------------------------------------------

WATCH = """
class Watch(PythonJob):
    HEAD = True
    def run(self, value):
        if self.in_heads[0][1]:
            print("reset at", value, flush=True)
        return value
"""


@pytest.mark.parametrize("source", ["Forgetful", "Generates"])
def test_a_source_that_cannot_resume_begins_a_new_generation(fission: CommandLine, source: str) -> None:
    limit, kills = 150, 3
    listed = f"""
    {source}({limit}, outputs=[PicklePipe(1)]),
    Watch(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(project_of(listed, WATCH))

    async def script(stage: Stage) -> None:
        for number in range(kills):
            await stage.until(lambda: column(stage.result).count(1) == number + 1 and column(stage.result)[-1] >= 20, "rows")  # noqa: B023
            await stage.until(lambda: stage.kill_job(1), "its process")

    ran = Stage(fission, sink=3).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    values = column(ran.result)
    generations = split(values)
    assert len(generations) == kills + 1
    for one in generations:
        assert one == list(range(1, len(one) + 1))  # in order, nothing twice, nothing missing
        assert len(one) >= 20
    assert len(generations[-1]) == limit
    assert ran.printed(2) == ["reset at 1"] * (kills + 1)
    assert ran.restarts(1) == kills


def split(values: list[int]) -> list[list[int]]:
    """The values of each generation: each begins with 1."""
    found: list[list[int]] = []
    for value in values:
        if value == 1:
            found.append([])
        found[-1].append(value)
    return found


def test_the_other_sources_of_its_part_number_again_too(fission: CommandLine) -> None:
    """They continue with their values; a join aligns blocks with the same numbers in the new generation."""
    listed = """
    Forgetful(200, outputs=[PicklePipe(1)]),
    Numbers(600, outputs=[PicklePipe(2)]),
    Pass2(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3), PicklePipe(4)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(3), PicklePipe(4)]),
    """
    jobs = """
    class Pass2(PythonJob):
        def run(self, first, second):
            return first, second
    """
    fission.project(project_of(listed, jobs))

    async def script(stage: Stage) -> None:
        await stage.rows(30)
        await stage.until(lambda: stage.kill_job(1), "its process")

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    first, second = column(ran.result, 0), column(ran.result, 1)
    old, new = split(first)
    assert old == list(range(1, len(old) + 1))
    assert new == list(range(1, 201))
    assert second[: len(old)] == old
    later = second[len(old) :]
    assert later == list(range(later[0], later[0] + 200))
    assert later[0] > len(old)


# -- state ------------------------------------------------------------------------------------------------------------

STATES = """
from datetime import timedelta

class ByTime(Total):
    CHECKPOINT = timedelta(milliseconds=15)

class Own(PythonJob):
    CHECKPOINT = 10
    def setup(self, *args, **kwargs):
        self.lock = threading.Lock()  # no snapshot of this
        self.parts = []
    def snapshot(self):
        return {"sum": sum(self.parts)}
    def restore(self, state):
        print("restored", sorted(state), flush=True)
        self.parts = [state["sum"]]
    def run(self, value):
        with self.lock:
            self.parts.append(value)
        return sum(self.parts)
"""


@pytest.mark.parametrize("stateful", ["ByTime", "Own"])
def test_checkpoints_by_time_and_own_snapshots(fission: CommandLine, stateful: str) -> None:
    limit, kills = 400, 8
    fission.project(project_of(CHAIN.format(limit=limit).replace("Total(", f"{stateful}("), STATES))

    async def script(stage: Stage) -> None:
        for number in range(kills):
            await stage.rows(45 * number + 30)
            await stage.until(lambda: stage.kill_job(4), "its process")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023

    ran = Stage(fission).run(script)
    check(ran, chain_rows(limit), 4)
    if stateful == "Own":
        # an incarnation that is killed before it gets there prints nothing, nor does one that begins before the first snapshot
        assert set(ran.printed(4)) == {"restored ['sum']"}
        assert len(ran.printed(4)) <= kills


def test_a_snapshot_that_cannot_be_pickled(fission: CommandLine) -> None:
    """It is reported at once and clearly, before anything is lost."""
    jobs = """
    class Locked(PythonJob):
        CHECKPOINT = 5
        def setup(self, *args, **kwargs):
            self.guard = threading.Lock()
        def run(self, value):
            return value
    """
    fission.project(project_of(CHAIN.format(limit=100).replace("Total(", "Locked("), jobs))
    ran = Stage(fission).run()
    assert ran.summary.exit_code == 1
    assert len(ran.failed) == 1
    assert "Locked 4 has a state that cannot be saved: its attribute guard (lock) cannot be pickled" in ran.failed[0]
    assert "override snapshot and restore" in ran.failed[0]
    assert ran.restarts(4) == 0
    assert column(ran.result) == [2 * number for number in range(1, len(rows(ran.result)))]


ASYNC = """
class Once(PythonJob):
    '''Says one word, and stays.'''
    def run(self):
        yield "word"
        while True:
            time.sleep(0.01)

class Both(PythonJob):
    def run(self, number, word):
        return word or "-"
"""
ASYNC_JOBS = """
Until(outputs=[PicklePipe(1)]),
Once(outputs=[OptionalPicklePipe(2)]),
Both(inputs=[PicklePipe(1), OptionalPicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""


@pytest.mark.parametrize("job", [pytest.param(2, id="producer"), pytest.param(3, id="consumer")])
def test_the_value_of_an_async_input_outlives_both_its_ends(fission: CommandLine, job: int) -> None:
    fission.project(project_of(ASYNC_JOBS, ASYNC))

    async def script(stage: Stage) -> None:
        await stage.until(lambda: rows(stage.result)[-1:] == [["word"]], "the word")
        for number in range(5):
            before = stage.row_count()
            await stage.until(lambda: stage.kill_job(job), "its process")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023
            await stage.rows(before + 20)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    check_word(ran)


def check_word(ran: Ran) -> None:
    words = [row[0] for row in rows(ran.result)[1:]]
    first = words.index("word")
    assert set(words[:first]) <= {"-"}
    assert set(words[first:]) == {"word"}, words


def test_the_value_of_an_async_input_outlives_a_producer_that_has_ended(fission: CommandLine) -> None:
    """No job has the block any longer when the consumer gets a new incarnation: the client has retained it."""
    ends = """
    class Once(PythonJob):
        def run(self):
            yield "word"

    class Both(PythonJob):
        def run(self, number, word):
            return word or "-"
    """
    fission.project(project_of(ASYNC_JOBS, ends))

    async def script(stage: Stage) -> None:
        await stage.until(lambda: rows(stage.result)[-1:] == [["word"]], "the word")
        await stage.until(lambda: not stage.incarnations(2), "the producer's end")
        for number in range(3):
            before = stage.row_count()
            await stage.until(lambda: stage.kill_job(3), "its process")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023
            await stage.rows(before + 20)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    check_word(ran)


# -- ends -------------------------------------------------------------------------------------------------------------


def test_restarts_that_are_used_up_end_the_network(fission: CommandLine) -> None:
    """A source is killed in each incarnation, with longer and longer pauses between them."""
    jobs = """
    class Fails(PythonJob):
        def run(self):
            yield 1
            os.kill(os.getpid(), signal.SIGKILL)
    """
    listed = 'Fails(outputs=[PicklePipe(1)]), CSVSinkJob("result.csv", inputs=[PicklePipe(1)])'
    fission.project(project_of(listed, jobs, extra="RESTARTS = 3"))
    done = finish(fission.start("net", "simulate"), fission.root, 1)
    assert done.stderr.endswith("Fails 1 failed:\nits process was killed by signal 9 (SIGKILL)\n")
    assert "Warning: Fails 1 is not started again: it failed 4 times within 60 s (RESTARTS = 3)" in done.stderr
    assert "net: Fails 1 failed after" in done.stdout
    assert re.search(r"^  Fails 1 +failed .*3 restarts", done.stdout, re.MULTILINE)
    log = [entry for entry in events(fission.root) if entry.get("job") == 1 and entry["what"] in ("JobEnded", "Launch")]
    assert [entry["what"] for entry in log] == ["Launch", "JobEnded"] * 4
    pauses = [after["s"] - before["s"] for before, after in zip(log[1::2], log[2::2], strict=False)]
    for pause, least in zip(pauses, (0.0, 0.1, 0.2), strict=True):
        assert least <= pause + 0.001


BROKEN_JOBS = {
    "source": ("def run(self):\n        raise OSError('no microphone')", False),
    "generator": ("def run(self):\n        yield 1\n        raise OSError('no microphone')", False),
    "resumable": ("CHECKPOINT = 1\n    def run(self):\n        raise OSError('no microphone')", False),
    "setup of a source": ("def setup(self):\n        raise OSError('no microphone')\n    def run(self):\n        yield 1", False),
    "sink": ("def run(self, value):\n        raise OSError('no microphone')", True),
    "setup of a sink": ("def setup(self):\n        raise OSError('no microphone')\n    def run(self, value):\n        pass", True),
}


@pytest.mark.parametrize("kind", BROKEN_JOBS)
def test_twice_the_same_failure_ends_the_network_and_its_traceback_is_the_last_thing_on_the_screen(fission: CommandLine, kind: str) -> None:
    body, is_sink = BROKEN_JOBS[kind]
    one = "inputs=[PicklePipe(1)]" if is_sink else "outputs=[PicklePipe(1)]"
    other = "Numbers(1000, outputs=[PicklePipe(1)])" if is_sink else "Total(inputs=[PicklePipe(1)])"
    fission.project(project_of(f"Broken({one}), {other}", f"class Broken(PythonJob):\n    {body}\n", extra=""))
    done = finish(fission.start("net", "simulate"), fission.root, 1)
    assert re.search(r"^  Broken 1 +failed .*1 restart$", done.stdout, re.MULTILINE), done
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("OSError: no microphone\n")
    assert len(re.findall("^Failover: ", done.stderr, re.MULTILINE)) <= 1  # none if it never was ready again
    assert "Warning: Broken 1 is not started again: it failed twice in the same way " in done.stderr
    assert len(done.stdout.splitlines()) <= 5  # the network, its jobs, one failover with its heading


#: Sources that fail in the same way three times, each time some blocks further on.
FURTHER = {
    "generator": """
        def run(self):
            yield from range(10 * self.incarnation)
            if self.incarnation < 4: raise OSError('no microphone')""",
    "run": """
        def run(self):
            self.number += 1
            if self.number == 10 * self.incarnation:
                if self.incarnation < 4: raise OSError('no microphone')
                self.finish()
            return self.number""",
}


@pytest.mark.parametrize(("kind", "head"), [("generator", False), ("generator", True), ("run", False), ("executable", False)])
def test_the_same_failure_at_a_later_block_is_a_new_failure_for_sources_too(fission: CommandLine, kind: str, head: bool) -> None:
    """A microphone may fail in the same way once a week."""
    count = "n=$(cat ../incarnations 2>/dev/null || echo 0); n=$((n + 1)); echo $n >../incarnations\n"
    script = count + "i=0; while [ $i -lt $((10 * n)) ]; do i=$((i + 1)); echo $i; done >$2; [ $n -ge 4 ]\n"
    setup = f"""
        HEAD = {head}
        def setup(self):
            self.number = 0
            self.incarnation = int(subprocess.check_output(['sh', '-c', {count + "echo $n"!r}]))"""
    python = f"class Fails(PythonJob):{textwrap.indent(textwrap.dedent(setup + FURTHER.get(kind, '')), '    ')}\n"
    program = "class Fails(ExecutableJob):\n    EXECUTABLE = 'sh'\n    PARAMETERS = 'script.sh'\n    DEPENDENCIES = 'net/source'\n"
    listed = "Fails(outputs=[JSONPipe(1)]), Total(inputs=[JSONPipe(1)])"
    jobs = "import subprocess\n\n" + (program if kind == "executable" else python)
    fission.project(project_of(listed, jobs, extra="RESTARTS = 3") | {"net/source/script.sh": script})
    done = finish(fission.start("net", "simulate"), fission.root, 0)
    assert re.search(r"^  Fails 1 +finished .* 3 restarts$", done.stdout, re.MULTILINE), done
    assert "is not started again" not in done.stderr


@pytest.mark.parametrize("kind", ["source", "setup of a source", "sink", "setup of a sink"])
@pytest.mark.slow
@pytest.mark.soak
def test_with_restarts_none_a_job_outlives_temporary_outages(fission: CommandLine, kind: str) -> None:
    """A broker that is away for more than the restarts that a job has by default."""
    away = "if not os.path.exists('../../back'):\n            raise ConnectionRefusedError('the broker is away')"
    setup = f"def setup(self):\n        {away}\n    " if kind.startswith("setup") else ""
    check = "pass" if setup else away
    body = f"def run(self, value):\n        {check}\n        print('got', value)"
    if not kind.endswith("sink"):
        body = f"def run(self):\n        {check}\n        yield from range(1, 51)"
    one = "inputs=[PicklePipe(1)]" if kind.endswith("sink") else "outputs=[PicklePipe(1)]"
    other = "Numbers(50, outputs=[PicklePipe(1)])" if kind.endswith("sink") else "Show(inputs=[PicklePipe(1)])"
    jobs = f"class Broker(PythonJob):\n    RESTARTS = None\n    {setup}{body}\n"
    files = project_of(f"Broker({one}), {other}", jobs, extra="")
    fission.project(files)
    client = fission.start("net", "simulate")
    client.wait_for("Broker 1 failed", stream="stderr")
    log = fission.root / "net/simulation/events.jsonl"
    eventually(lambda: log.read_text().count('"JobEnded"') >= 7, 40, "it has failed more often than five times")
    (fission.root / "net/back").touch()
    done = finish(client, fission.root, 0, 60)
    assert [int(number) for number in re.findall(r"got (\d+)$", done.stdout, re.MULTILINE)] == list(range(1, 51))
    assert re.search(r"^  Broker 1 .*, \d+ restarts", done.stdout, re.MULTILINE), done


@pytest.mark.parametrize(
    ("code", "restarts", "message"),
    [
        ("if value == 7: raise ValueError('seven')", 1, "ValueError: seven"),
        ("if value == 7: return lambda: 7", 0, "does not fit PicklePipe 2"),
    ],
    ids=["the same failure at the same block", "what never fits"],
)
def test_failures_that_would_come_again_end_the_network_at_once(fission: CommandLine, code: str, restarts: int, message: str) -> None:
    jobs = f"""
    class Fails(PythonJob):
        def run(self, value):
            {code}
            return value
    """
    listed = """
    Numbers(100, outputs=[PicklePipe(1)]),
    Fails(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(project_of(listed, jobs, extra=""))
    done = finish(fission.start("net", "simulate", "--json"), fission.root, 1)
    summary = json.loads(done.stdout)
    assert summary["jobs"]["2"]["restarts"] == restarts
    assert summary["jobs"]["2"]["outcome"] == "failed"
    assert summary["exit_code"] == 1
    assert message in summary["failures"][0]["error"]
    assert done.stderr.count("Fails 2 failed:\n") == 1
    values = column(fission.root / "net/simulation/3/result.csv")  # the end is at once: the last ones may have been on their way
    assert values == [1, 2, 3, 4, 5, 6][: len(values)]


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_no_place_is_left(fission: CommandLine, how: str) -> None:
    """All nodes are lost: it waits for ALLOCATION_TIMEOUT, ends with exit code 3 and says what is missing."""
    fission.project(project_of(DIAMOND.format(limit=100000), extra="ALLOCATION_TIMEOUT = 0.7"))

    async def script(stage: Stage) -> None:
        await stage.rows(20)
        for node in ("1", "2"):
            if how == "killed":
                stage.kill_node(node)
            else:
                stage.engine.freeze(node)

    ran = Stage(fission).run(script, nodes=2)
    assert ran.summary.exit_code == 3, ran
    assert "no place for Numbers 1" in ran.summary.reason
    waits, *_, text = [text for kind, text in ran.console if kind == "warning"]
    assert re.match(r"node \d is lost: .*; not running yet: ", waits)
    assert any("(ALLOCATION_TIMEOUT), then the network ends; start a lost node again" in text for kind, text in ran.console)
    assert ran.summary.failures[0].report in text
    assert {ran.summary.jobs[job].outcome for job in (1, 2, 3, 4)} == {"lost" if how == "killed" else "killed"}
    for part in ("Numbers 1", "Double 2", "AddPair 3", "Join 4", "1: lost", "2: lost"):
        assert part in text, text
    lost = max(entry["s"] for entry in events(fission.root) if entry["what"] == "NodeLost")
    (over,) = [entry["s"] for entry in events(fission.root) if entry["what"] == "Finish"]
    assert over - lost >= 0.65
    assert column(ran.result) == diamond_rows(100000)[: ran_rows(ran)]


def ran_rows(ran: Ran) -> int:
    return len(rows(ran.result)) - 1


def test_a_node_that_comes_back_in_time_ends_the_waiting(fission: CommandLine) -> None:
    limit = 400
    fission.project(project_of(DIAMOND.format(limit=limit), extra=f"{OFTEN}ALLOCATION_TIMEOUT = 20"))

    async def script(stage: Stage) -> None:
        await stage.rows(20)
        stage.kill_node("1")
        stage.kill_node("2")
        await stage.until(lambda: not {"1", "2"} & set(stage.engine.nodes()), "the loss of both")
        await stage.revive("2")

    ran = Stage(fission).run(script, nodes=2)
    check(ran, diamond_rows(limit), 5)
    assert any("-> 2" in line for line in ran.failovers)


def test_a_csv_file_continues_after_blocks_that_were_left_out(fission: CommandLine) -> None:
    """A sink that cannot keep up loses blocks; those at the beginning of an incarnation have no dummy, and so no row."""
    jobs = """
    class SlowSink(CSVSinkJob):
        MAX_QUEUE = 4
        def run(self, *values):
            super().run(*values)
            time.sleep(0.001)

    class Ends(Until):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.pace = 0.0005
    """
    fission.project(project_of('Ends(outputs=[PicklePipe(1)]), SlowSink("result.csv", inputs=[PicklePipe(1)])', jobs))
    rng = seeded(11)

    async def script(stage: Stage) -> None:
        for number in range(12):
            before = stage.row_count()
            await stage.rows(before + rng.randint(1, 60))
            await stage.until(lambda: stage.kill_job(2), "its process")
            await stage.until(lambda: len(stage.failovers) == number + 1, "its failover")  # noqa: B023
        await stage.rows(stage.row_count() + 20)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=2).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    values = column(ran.result)
    # a dummy repeats the previous block: a smaller value would be a repeated block
    assert values == sorted(values), ran
    assert len(values) < values[-1]  # some were left out
    assert len(values) == len(ran.result.read_text().splitlines()) - 1


# -- the control thread -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_signals", [False, True], ids=["", "takes SIGTERM itself"])
def test_a_control_thread_that_fails_ends_its_job(fission: CommandLine, takes_signals: bool) -> None:
    """A fault of ours while it carries out an order: the job reports it and is restarted, instead of stalling."""
    setup = "signal.signal(signal.SIGTERM, lambda *_: None)" if takes_signals else "pass"
    jobs = f"""
    import signal
    from pathlib import Path

    class Deaf(PythonJob):
        def setup(self, *args, **kwargs):
            {setup}
            if not Path("broken").exists():  # the first incarnation alone
                from fission.protocol.endpoint_commands import EndpointCommands

                Path("broken").touch()
                EndpointCommands.wire = Deaf.broken
        def broken(self, *args):
            raise RuntimeError("this order cannot be carried out")
        def run(self, value):
            return value
    """
    listed = """
    Until(outputs=[PicklePipe(1)]),
    Deaf(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(project_of(listed, jobs, extra=PATIENT))

    async def script(stage: Stage) -> None:
        await stage.rows(30)
        stage.coordinator.command(2, WirePipe(pipe=1, address="", near=True, peer=1, incarnation=1))
        await stage.until(lambda: stage.failovers, "a failover")
        await stage.rows(stage.row_count() + 30)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=3).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    values = column(ran.result)
    assert values == list(range(1, len(values) + 1))
    assert ran.restarts(2) == 1
    (report,) = ran.failed or [str(ran)]
    assert "Deaf 2: the thread that serves its pipes failed: " in report


# -- counts -----------------------------------------------------------------------------------------------------------


def test_counts_are_of_all_incarnations(fission: CommandLine) -> None:
    """Numbers continue across incarnations; events of each incarnation add up; replayed blocks are counted for their pipe."""
    jobs = """
    class Stumbles(PythonJob):
        def setup(self, *args, **kwargs):
            self.incarnations = len(os.listdir("."))
            open(f"incarnation {self.incarnations}", "w").close()
            self.values = 0
        def run(self, value):
            self.values += 1
            if self.incarnations < 3 and self.values == 30:
                raise ValueError(f"incarnation {self.incarnations} ends")
            return value
    """
    listed = """
    Numbers(200, outputs=[PicklePipe(1)]),
    Stumbles(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(project_of(listed, jobs))
    ran = Stage(fission, sink=3).run()
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert column(ran.result) == list(range(1, 201))
    jobs_of = ran.summary.to_json()["jobs"]
    replayed = jobs_of["1"]["outputs"]["1"]["replayed"]
    assert replayed >= sum(failover.replayed for failover in ran.summary.failovers) > 0  # each tells those before its own end
    assert ran.restarts(2) >= 1
    for number in ("1", "2", "3"):
        assert jobs_of[number]["compute_blocks"] == 200, ran
        assert jobs_of[number]["lives_untold"] == 0
    assert jobs_of["1"]["outputs"]["1"]["sent"] == jobs_of["2"]["outputs"]["2"]["sent"] == 200
    received = jobs_of["2"]["inputs"]["1"]["received"]
    assert 200 < received <= 200 + replayed  # each incarnation receives some of them again
    assert f"{replayed} replayed" in "\n".join(ran.summary.lines())


# -- MAX_QUEUE --------------------------------------------------------------------------------------------------------


def test_a_slow_consumer_with_max_queue(fission: CommandLine) -> None:
    """Its producer never waits; what is lost is counted for its pipe, replaced by get_dummy's value and marked in the head."""
    limit = 400
    jobs = """
    class Filled(BytesPipe):
        def get_dummy(self):
            return b"none"

    class Fast(PythonJob):
        def run(self):
            for number in range(400):
                yield b"%04d" % number

    class Slow(PythonJob):
        MAX_QUEUE = 5
        HEAD = True
        def run(self, value):
            time.sleep(0.002)
            return value.decode(), int(self.head[0])
    """
    listed = """
    Fast(outputs=[Filled(1, 4)]),
    Slow(inputs=[Filled(1, 4)], outputs=[PicklePipe(2), PicklePipe(3)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2), PicklePipe(3)]),
    """
    fission.project(project_of(listed, jobs))
    ran = Stage(fission, sink=3).run()
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    found = rows(ran.result)[1:]
    assert len(found) == limit  # each number has its row: the block or its dummy
    dummies = [row for row in found if row[0] == "none"]
    for number, (value, corrupted) in enumerate(found):
        assert (value, corrupted) in ((f"{number:04d}", "0"), ("none", "1"))
    assert len(dummies) > limit / 2
    counts = ran.summary.to_json()["jobs"]
    assert counts["1"]["outputs"]["1"]["dropped"] == len(dummies)
    assert counts["1"]["outputs"]["1"]["blocked_s"] == 0
    assert counts["2"]["inputs"]["1"]["lost"] == counts["2"]["inputs"]["1"]["dummies"] == len(dummies)
    text = "\n".join(ran.summary.lines())
    assert f"{len(dummies)} dropped" in text
    assert f"{len(dummies)} dummies" in text
