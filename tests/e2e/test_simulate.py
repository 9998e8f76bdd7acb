"""`simulate` as users see it: files and folders, output, ends of every kind, and nothing left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.support import column, finish, network, printed, run_folders, stop
from tests.waiting import CommandLine

COUNT_TO_SHOW = "Count(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"
COUNT_TO_CSV = 'Count(outputs=[PicklePipe(1)]), CSVSinkJob("result.csv", inputs=[PicklePipe(1)])'


def simulate(fission: CommandLine, *options: str, exit_code: int = 0) -> tuple[str, str]:
    """Simulates the network net to its end; gives what came on the two streams."""
    client = fission.start("net", "simulate", *options)
    client.end_input()
    done = finish(client, fission.root, exit_code)
    return done.stdout, done.stderr


def folder(fission: CommandLine, *path: str) -> Path:
    return fission.root.joinpath("net", "simulation", *path)


# -- files and folders ------------------------------------------------------------------------------------------------


def test_folders_are_emptied_first(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_CSV))
    for path in ("1/old.txt", "7/result.csv", "old/deep/file", "2/result.csv"):
        folder(fission, path).parent.mkdir(parents=True, exist_ok=True)
        folder(fission, path).write_text("old")
    simulate(fission)
    assert sorted(path.name for path in folder(fission).iterdir()) == ["1", "2", "ending.json", "events.jsonl", "fission.log", "info.txt"]
    assert list(folder(fission, "1").iterdir()) == []
    assert column(folder(fission, "2/result.csv")) == list(range(1, 11))


def test_info_txt_says_which_folder_is_whose(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_CSV))
    simulate(fission)
    text = folder(fission, "info.txt").read_text()
    assert re.search(r"^1: Count 1\n\s+inputs: -\n\s+outputs: PicklePipe 1$", text, re.MULTILINE)
    assert re.search(r"^2: CSVSinkJob 2\n\s+inputs: PicklePipe 1\n\s+outputs: -$", text, re.MULTILINE)


def test_log_of_the_run_has_everything_and_log_file_what_its_level_says(fission: CommandLine) -> None:
    jobs = """
    import logging

    class Talkative(PythonJob):
        def run(self):
            logging.getLogger("fission").debug("a detail")
            self.finish()
            return 1
    """
    listed = "Talkative(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"
    fission.project(network(jobs, listed, extra='LOG_LEVEL = "ERROR"\nLOG_FILE = "logs/own.log"'))
    (fission.root / "logs").mkdir()
    simulate(fission)
    run_log = folder(fission, "fission.log").read_text()
    assert "INFO" in run_log
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* DEBUG .*a detail$", run_log, re.MULTILINE)
    for job in ("Talkative 1", "Show 2"):
        assert f"{job} starts" in run_log
        assert f"{job} finished" in run_log
    assert (fission.root / "logs/own.log").read_text() == ""


def test_log_file_gets_the_level_that_it_is_set_to_and_is_continued(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW, extra='LOG_LEVEL = "INFO"\nLOG_FILE = "own.log"'))
    (fission.root / "own.log").write_text("from before\n")
    simulate(fission)
    text = (fission.root / "own.log").read_text()
    assert text.startswith("from before\n")
    assert "net starts" in text
    assert "Show 2 finished" in text


def test_default_log_file_is_in_the_project(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    simulate(fission)
    assert "net starts" in (fission.root / "FISSION.log").read_text()


def test_jobs_work_in_their_folders_with_their_dependencies(fission: CommandLine) -> None:
    jobs = """
    class Writes(PythonJob):
        DEPENDENCIES = "material"
        def run(self):
            open("out.txt", "w").write(open("in.txt").read().upper())
            self.finish()
            return os.getcwd()
    """
    files = network(jobs, "Writes(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])") | {"material/in.txt": "text"}
    fission.project(files)
    out, _ = simulate(fission)
    assert folder(fission, "1/out.txt").read_text() == "TEXT"
    assert printed(out, "Show 2") == [f"got {folder(fission, '1').resolve()}"]
    assert (fission.root / "material/in.txt").read_text() == "text"


def test_nodes_and_the_rest_of_the_cluster_are_neither_needed_nor_touched(fission: CommandLine) -> None:
    extra = """
    from fission.core.nodes import *
    NODES, CLIENT_IP, USER, REMOTE_ROOT = [BaseNode("192.0.2.1")], "192.0.2.2", "nobody", "/nowhere"
    """
    fission.project(network("", COUNT_TO_SHOW, extra=extra))
    out, _ = simulate(fission)
    assert len(printed(out, "Show 2")) == 10


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_each_line_of_a_job_has_its_name_in_front_on_the_stream_it_was_written_to(fission: CommandLine) -> None:
    jobs = r"""
    class Speaks(PythonJob):
        def run(self, value):
            print("one\ntwo")
            print()
            print("to stderr", file=sys.stderr)
            sys.stdout.write("a line in ")
            sys.stdout.flush()
            sys.stdout.write("two parts\n")
            os.write(1, b"\xff raw\n")
            print("[red]not markup[/red] " + "x" * 300)
            subprocess.run("echo from a child; echo its error >&2", shell=True)
            print("last line without an end", end="")
    """
    fission.project(network(jobs, "Count(1, outputs=[PicklePipe(1)]), Speaks(inputs=[PicklePipe(1)])"))
    out, err = simulate(fission)
    assert printed(out, "Speaks 2") == [
        "one",
        "two",
        "",
        "a line in two parts",
        "\ufffd raw",
        "[red]not markup[/red] " + "x" * 300,
        "from a child",
        "last line without an end",
    ]
    assert printed(err, "Speaks 2") == ["to stderr", "its error"]


def test_no_line_is_lost_when_a_job_prints_much_and_ends(fission: CommandLine) -> None:
    jobs = """
    class Prints(PythonJob):
        def run(self):
            for number in range(20000):
                print("line", number)
            self.finish()
            return 1
    """
    fission.project(network(jobs, "Prints(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    out, _ = simulate(fission)
    assert printed(out, "Prints 1") == [f"line {number}" for number in range(20000)]


def test_summary(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    out, err = simulate(fission)
    lines = out.splitlines()[-3:]
    assert re.fullmatch(r"net: finished after \d+\.\d s", lines[0])
    assert [line.split() for line in lines[1:]] == [f"{job} finished 10 compute blocks".split() for job in ("Count 1", "Show 2")]
    assert re.search(r"^Count 1 started$", err, re.MULTILINE)
    assert re.search(r"^Show 2 finished$", err, re.MULTILINE)


def test_json_is_alone_on_standard_output(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    out, err = simulate(fission, "--json")
    summary = json.loads(out)
    assert (summary["network"], summary["exit_code"], summary["reason"], summary["failures"]) == ("net", 0, "finished", [])
    assert summary["jobs"]["1"]["name"] == "Count 1"
    assert {job["outcome"] for job in summary["jobs"].values()} == {"finished"}
    assert summary["jobs"]["2"]["compute_blocks"] == 10
    assert summary["jobs"]["2"]["blocks_per_s"] * summary["seconds"] > 10.01, "the time before the job's start does not count"
    assert summary["jobs"]["2"]["inputs"]["1"]["received"] == 10
    assert summary["jobs"]["1"]["outputs"]["1"] == {"sent": 10, "dropped": 0, "queue": 0, "blocked_s": 0.0, "replayed": 0, "lost": 0}
    assert printed(err, "Show 2") == [f"got {value}" for value in range(1, 11)]


def test_json_of_a_failure(fission: CommandLine) -> None:
    jobs = """
    class Fails(PythonJob):
        def run(self, value):
            raise RuntimeError("that's it")
    """
    fission.project(network(jobs, "Count(outputs=[PicklePipe(1)]), Fails(inputs=[PicklePipe(1)])"))
    out, _ = simulate(fission, "--json", exit_code=1)
    summary = json.loads(out)
    assert (summary["exit_code"], summary["reason"]) == (1, "Fails 2 failed")
    assert summary["jobs"]["2"]["outcome"] == "failed"
    assert summary["failures"][0]["job"] == "Fails 2"
    assert summary["failures"][0]["error"].endswith("RuntimeError: that's it")


def test_for_seconds(fission: CommandLine) -> None:
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    out, err = simulate(fission, "--for", "0.4")
    assert "net: time is over after " in out
    assert "stopped" in err
    sent, shown = (int(re.search(rf"^  {job} +stopped +(\d+) compute blocks", out, re.MULTILINE)[1]) for job in ("Endless 1", "Show 2"))
    assert sent >= shown >= len(printed(out, "Show 2")) - 1 > 0
    assert printed(out, "Show 2")[0] == "got 1"


def test_for_is_not_a_minimum(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    out, _ = simulate(fission, "--for", "600")
    assert float(re.search(r"net: finished after ([\d.]+) s", out)[1]) < 60


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_for_needs_seconds(fission: CommandLine, seconds: str) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    _, err = simulate(fission, "--for", seconds, exit_code=2)
    assert "--for" in err
    assert "Traceback" not in err
    assert not folder(fission).exists()


def test_a_wrong_network_starts_nothing_and_leaves_the_last_results(fission: CommandLine) -> None:
    fission.project(network("", "Count(outputs=[PicklePipe(1)])"))
    folder(fission).mkdir()
    folder(fission, "kept.csv").write_text("results")
    out, err = simulate(fission, exit_code=2)
    assert out == ""
    assert "pipe 1 has no destination" in err
    assert folder(fission, "kept.csv").read_text() == "results"


def test_one_process_a_job(fission: CommandLine) -> None:
    jobs = """
    class Pid(PythonJob):
        def run(self, *values):
            print("pid", os.getpid(), os.getpgid(0))
            self.finish()
            return 1
    """
    listed = """
    Pid(outputs=[PicklePipe(1), PicklePipe(2)]),
    Pid(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
    Pid(inputs=[PicklePipe(2), PicklePipe(3)]),
    """
    fission.project(network(jobs, listed))
    out, _ = simulate(fission)
    pids = [printed(out, f"Pid {number}") for number in (1, 2, 3)]
    assert all(len(one) == 1 and re.fullmatch(r"pid (\d+) \1", one[0]) for one in pids)
    assert len({one[0] for one in pids}) == 3


# -- good ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [False, True], ids=["without HEAD", "with HEAD"])
@pytest.mark.parametrize("way", ["finish", "generator"])
def test_a_source_ends_the_network(fission: CommandLine, head: bool, way: str) -> None:
    jobs = f"""
    class ByFinish(PythonJob):
        HEAD = {head}
        def setup(self, *args, **kwargs):
            self.value = 0
        def run(self):
            self.value += 1
            if self.value == 20:
                self.finish()
            return self.value

    class ByGenerator(PythonJob):
        HEAD = {head}
        def run(self):
            yield from range(1, 21)

    class Double(PythonJob):
        HEAD = {head}
        def run(self, value):
            return 2 * value
    """
    listed = f"""
    By{way.title()}(outputs=[PicklePipe(1)]),
    Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(network(jobs, listed))
    out, _ = simulate(fission)
    assert column(folder(fission, "3/result.csv")) == list(range(2, 42, 2))
    assert out.count("20 compute blocks") == 3
    assert out.count("  finished") == 3


@pytest.mark.parametrize("head", [False, True], ids=["without HEAD", "with HEAD"])
@pytest.mark.parametrize("source", ["Endless", "Tuples", "Calls", "Twice"])
def test_finish_in_a_sink_ends_what_feeds_it(fission: CommandLine, head: bool, source: str) -> None:
    """Every kind of source learns that no consumer needs its blocks."""
    second = ", PicklePipe(8)" if source == "Twice" else ""
    jobs = f"""
    class Tuples(Endless):
        def run(self):
            for value in super().run():
                yield (value,)

    class Calls(PythonJob):
        value = 0
        def run(self):
            time.sleep(0.005)
            self.value += 1
            return self.value

    class Twice(Calls):
        pass

    class Loses(PythonJob):
        def run(self, value):
            self.finish()

    class Enough(PythonJob):
        HEAD = {head}
        def run(self, value):
            print("got", value)
            if value == 3:
                self.finish()
    """
    listed = f"""
    {source}(outputs=[PicklePipe(1){second}]),
    ForwardingJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    Enough(inputs=[PicklePipe(2)]),
    {"Loses(inputs=[PicklePipe(8)])," if second else ""}
    """
    fission.project(network(jobs, listed))
    out, _ = simulate(fission)
    assert printed(out, "Enough 3") == ["got 1", "got 2", "got 3"]
    assert out.count("  finished") == (4 if second else 3)


@pytest.mark.parametrize("head", [False, True], ids=["without HEAD", "with HEAD"])
def test_finish_in_the_middle_ends_both_sides(fission: CommandLine, head: bool) -> None:
    jobs = f"""
    class Until(PythonJob):
        HEAD = {head}
        def run(self, value):
            if value == 5:
                self.finish()
            return value
    """
    listed = """
    Endless(outputs=[PicklePipe(1)]),
    Until(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(network(jobs, listed))
    out, _ = simulate(fission)
    assert column(folder(fission, "3/result.csv")) == [1, 2, 3, 4, 5]
    assert out.count("  finished") == 3


#: Jobs that finish without a last result, in each of the loops that FISSION has for sources and for jobs with inputs.
FINISH_WITHOUT_A_RESULT = """
class Source(PythonJob):
    def setup(self):
        self.n = 0
    def run(self):
        self.n += 1
        if self.n == 4:
            return self.finish()
        return self.n
class Kept(Source):
    CHECKPOINT = 1
class Flagged(Source):
    HEAD = True
class Steps(PythonJob):
    def run(self):
        yield from (1, 2, 3)
        self.finish()
        yield None
class Through(PythonJob):
    def run(self, value):
        if value == 4:
            return self.finish()
        return value
class KeptThrough(Through):
    CHECKPOINT = 1
    def setup(self):
        self.n = 0
class FlaggedThrough(Through):
    HEAD = True
"""


@pytest.mark.parametrize("outputs", [1, 2])
def test_finish_without_a_result_notifies_the_jobs_after_it(fission: CommandLine, outputs: int) -> None:
    finishing, listed, names = ["Source", "Kept", "Flagged", "Steps", "Through", "KeptThrough", "FlaggedThrough"], [], []
    for place, job in enumerate(finishing):
        inputs, pipes = "", [f"PicklePipe({10 * place + number})" for number in range(1, outputs + 1)]
        if "Through" in job:
            inputs = f"inputs=[PicklePipe({10 * place})], "
            listed.append(f"Endless(outputs=[PicklePipe({10 * place})]),")
        listed.append(f"{job}({inputs}outputs=[{', '.join(pipes)}]),")
        for pipe in pipes:
            listed.append(f'CSVSinkJob("result.csv", inputs=[{pipe}]),')
            names.append(f"{len(listed)}/result.csv")
    fission.project(network(FINISH_WITHOUT_A_RESULT, "\n".join(listed)))
    out, err = simulate(fission)
    assert {name: column(folder(fission, name)) for name in names} == {name: [1, 2, 3] for name in names}
    assert out.count("  finished") == len(listed)
    assert "returned None" not in err


def test_finish_of_one_of_two_consumers_leaves_the_other_at_work(fission: CommandLine) -> None:
    jobs = """
    class Enough(PythonJob):
        def run(self, value):
            self.finish()
    """
    listed = """
    Count(1000, outputs=[PicklePipe(1), PicklePipe(2)]),
    Enough(inputs=[PicklePipe(1)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(network(jobs, listed))
    simulate(fission)
    assert column(folder(fission, "3/result.csv")) == list(range(1, 1001))


def test_none_ends_a_job_with_a_warning_and_sends_nothing_downstream(fission: CommandLine) -> None:
    jobs = """
    class Stops(PythonJob):
        def run(self, value):
            return value if value < 4 else None
    """
    listed = """
    Endless(outputs=[PicklePipe(1)]),
    Stops(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(network(jobs, listed))
    client = fission.start("net", "simulate")
    warning = client.wait_for("Warning: Stops 2 returned None", stream="stderr")
    assert "3" not in re.sub(r"Stops 2", "", warning)
    client.wait_for("Endless 1 finished", stream="stderr")
    done = stop(client, fission.root)
    assert re.search(r"^  Stops 2 +ended", done.stdout, re.MULTILINE)
    assert re.search(r"^  CSVSinkJob 3 +stopped", done.stdout, re.MULTILINE)
    assert column(folder(fission, "3/result.csv")) == [1, 2, 3]


def test_none_from_a_sink_has_no_meaning(fission: CommandLine) -> None:
    fission.project(network("", COUNT_TO_SHOW))
    out, err = simulate(fission)
    assert len(printed(out, "Show 2")) == 10
    assert "Warning" not in err


def test_system_exit_and_exit_codes_of_jobs(fission: CommandLine) -> None:
    """A job ends by finish(), not by exit(): what it owes downstream would be lost silently."""
    jobs = """
    class Exits(PythonJob):
        def run(self, value):
            sys.exit(0)
    """
    fission.project(network(jobs, "Count(outputs=[PicklePipe(1)]), Exits(inputs=[PicklePipe(1)])"))
    _, err = simulate(fission, exit_code=1)
    assert "Exits 2 failed:" in err
    assert "SystemExit" in err


# -- failures ---------------------------------------------------------------------------------------------------------

FAILS = """
class Fails(PythonJob):
    def run(self, value):
        if value == 50:
            while not (self.rows("../3/source.csv") >= 40 and self.rows("../4/failed.csv") == 49):
                time.sleep(0.005)
            return self.deeper({"key": value})
        return value

    def rows(self, path):
        return len(open(path).readlines()) - 1

    def deeper(self, table):
        try:
            return table["missing"]
        except KeyError as error:
            raise ValueError("no such thing") from error
"""
FAILING = """
Endless(outputs=[PicklePipe(1), PicklePipe(2)]),
Fails(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
CSVSinkJob("source.csv", inputs=[PicklePipe(2)]),
CSVSinkJob("failed.csv", inputs=[PicklePipe(3)]),
"""


def test_exception_of_a_job(fission: CommandLine) -> None:
    fission.project(network(FAILS, FAILING))
    out, err = simulate(fission, exit_code=1)
    assert "Fails 2 failed:" in err
    shown = err[err.index("Fails 2 failed:") :]
    frames = re.findall(r'^  File "(.*)", line \d+, in (\w+)$', shown, re.MULTILINE)
    assert {Path(file).name for file, _ in frames} == {"jobs.py"}
    assert [function for _, function in frames] == ["deeper", "run", "deeper"]
    assert "KeyError: 'missing'" in shown
    assert "ValueError: no such thing" in shown
    assert "fission/runtime" not in shown
    assert shown.count("Fails 2 failed:") == 1
    assert "net: Fails 2 failed after" in out
    assert re.search(r"^  Fails 2 +failed", out, re.MULTILINE)
    # nothing of the files already written is lost, and every row is whole
    assert column(folder(fission, "4/failed.csv")) == list(range(1, 50))
    source = column(folder(fission, "3/source.csv"))
    assert source == list(range(1, len(source) + 1))
    assert len(source) >= 40
    assert "Fails 2 failed" in folder(fission, "fission.log").read_text()


@pytest.mark.parametrize("place", ["setup", "__setstate__", "module"])
def test_exception_before_the_first_block(fission: CommandLine, place: str) -> None:
    jobs = {
        "setup": "class Bad(PythonJob):\n    def setup(self, *a, **k):\n        1 / 0\n",
        "__setstate__": "class Bad(PythonJob):\n    def __setstate__(self, state):\n        1 / 0\n",
        "module": "if multiprocessing_is_a_job:\n    1 / 0\nclass Bad(PythonJob):\n",
    }[place].replace("multiprocessing_is_a_job", "os.getpgid(0) == os.getpid() and os.getcwd().endswith('2')")
    fission.project(network(jobs + "    def run(self, value):\n        pass\n", COUNT_TO_SHOW.replace("Show", "Bad")))
    _, err = simulate(fission, exit_code=1)
    assert "Bad 2 failed:" in err
    assert "ZeroDivisionError: division by zero" in err
    assert "fission/runtime" not in err
    assert "jobs.py" in err


def test_two_jobs_fail(fission: CommandLine) -> None:
    jobs = """
    class Fails(PythonJob):
        def run(self, value):
            raise ValueError(f"from {self.id}")
    """
    listed = "Endless(outputs=[PicklePipe(1), PicklePipe(2)]), Fails(inputs=[PicklePipe(1)]), Fails(inputs=[PicklePipe(2)])"
    fission.project(network(jobs, listed))
    _, err = simulate(fission, exit_code=1)
    reported = [number for number in (2, 3) if f"Fails {number} failed:\n" in err and f"ValueError: from {number}" in err]
    assert reported


def test_a_value_that_does_not_fit_names_job_output_pipe_and_type(fission: CommandLine) -> None:
    jobs = """
    class Unfit(PythonJob):
        def run(self, value):
            return (value, lambda: None) if value == 3 else (value, value)
    """
    listed = """
    Count(outputs=[PicklePipe(1)]),
    Unfit(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    CSVSinkJob("a.csv", inputs=[PicklePipe(2)]),
    Show(inputs=[PicklePipe(3)]),
    """
    fission.project(network(jobs, listed))
    _, err = simulate(fission, exit_code=1)
    assert "Unfit 2, output 2: a value of type function does not fit PicklePipe 3" in err
    assert "Traceback" not in err


def test_a_tuple_of_the_wrong_length(fission: CommandLine) -> None:
    jobs = """
    class Unfit(PythonJob):
        def run(self, value):
            return (1, 2, 3)
    """
    listed = """
    Count(outputs=[PicklePipe(1)]),
    Unfit(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    Show(inputs=[PicklePipe(2), PicklePipe(3)]),
    """
    fission.project(network(jobs, listed))
    _, err = simulate(fission, exit_code=1)
    assert "Unfit 2: run must return one value for each of its 2 outputs" in err
    assert "a tuple of 3" in err
    assert "Traceback" not in err


def test_a_network_that_needs_long_windows_still_ends(fission: CommandLine) -> None:
    """Far more blocks than a window holds, through a slow sink: nothing is lost at the end."""
    jobs = """
    class Slow(PythonJob):
        def run(self, values):
            if values[0] % 1000 == 1:
                time.sleep(0.01)
            return sum(values)

    class Many(PicklePipe):
        BLOCK_COUNT = 5
    """
    listed = 'Count(30000, outputs=[Many(1)]), Slow(inputs=[Many(1)], outputs=[PicklePipe(2)]), CSVSinkJob("r.csv", inputs=[PicklePipe(2)])'
    fission.project(network(jobs, listed))
    simulate(fission)
    assert column(folder(fission, "3/r.csv")) == [5 * first + 10 for first in range(1, 30001, 5)]


def test_two_networks_at_the_same_time(fission: CommandLine) -> None:
    listed = "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"
    fission.project(network("", listed, name="first") | network("", listed, name="second"))
    first, second = (fission.start(name, "simulate") for name in ("first", "second"))
    for client in (first, second):
        client.wait_for("[Show 2] got 3")
    assert len(run_folders()) == 2
    first.interrupt()
    first.wait(exit_code=130)
    seen = len(printed(second.stdout, "Show 2"))
    second.wait_for("[Show 2] got", count=seen + 10)
    assert len(run_folders()) == 1
    stop(second, fission.root)
    for name in ("first", "second"):
        assert (fission.root / name / "simulation/info.txt").exists()


@pytest.mark.parametrize("character", ["x", "\u00e4", "\U0001f600", "\x01"], ids=["ascii", "latin", "emoji", "control"])
def test_a_very_long_error_is_cut_and_reported(fission: CommandLine, character: str) -> None:
    """Longer than any pipe holds, in characters that grow when they are sent."""
    jobs = f"""
    class Fails(PythonJob):
        def run(self, value):
            raise ValueError("begin " + {character!r} * 300_000 + " end")
    """
    fission.project(network(jobs, "Endless(outputs=[PicklePipe(1)]), Fails(inputs=[PicklePipe(1)])"))
    _, err = simulate(fission, exit_code=1)
    assert "ValueError: begin " in err
    assert " end\n" in err
    assert "characters left out" in err
    assert len(err) < 200_000
