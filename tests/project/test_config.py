"""Loading config.py: a Config and a Network, or all faults at once, each with its place."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import pickle
import sys
from pathlib import Path

import pytest

from fission.core.base import JOBS as CURRENT_JOBS
from fission.core.base import BaseNode
from fission.core.nodes import MultiNode
from fission.errors import ConfigError, UnknownNameError, UserError
from fission.project import undefined_names
from fission.project.config import Config, find_project, list_networks, load
from fission.project.settings import SETTINGS
from tests.project.projects import FIRST, HEAD, PAIR, faults, loaded, one_fault, project

GOOD = """
USER = "pi"
REMOTE_ROOT = f"/home/{USER}/fission/"
LOG_LEVEL = "DEBUG"
LOG_FILE = "FISSION.log"
CLIENT_IP = "192.168.4.1"
DEBUG_WINDOW = True
NODES = [BaseNode("192.168.4.2"), MultiNode("192.168.5.*")]
PRE_COPY = False
XML_FILE = None
PULSE_INTERVAL = 1
HEAD_SIZE = 2
CLUSTER = "tcp://192.168.4.1:8786"
PORT = 9000
ALLOCATION_TIMEOUT = 0
RESTARTS = 0
RESTART_WINDOW = 5.5
ORPHAN_TIMEOUT = 7
DEADLINE = 0.5
SECURITY = False
DASHBOARD = 8080
"""


def test_every_setting_reaches_the_config(tmp_path: Path) -> None:
    network = loaded(tmp_path, HEAD + PAIR + GOOD)
    config = network.config
    assert (config.user, config.remote_root, config.log_level, config.log_file) == ("pi", "/home/pi/fission/", "DEBUG", "FISSION.log")
    assert (config.client_ip, config.debug_window, config.pre_copy, config.xml_file) == ("192.168.4.1", True, False, None)
    assert (config.pulse_interval, config.head_size, config.cluster, config.port) == (1.0, 2, "tcp://192.168.4.1:8786", 9000)
    assert (config.allocation_timeout, config.restarts, config.restart_window, config.orphan_timeout) == (0.0, 0, 5.5, 7.0)
    assert (config.security, config.dashboard, config.deadline) == (False, 8080, 0.5)
    assert [job.name for job in config.jobs] == ["SourceJob 1", "SinkJob 2"]
    assert [type(node) for node in config.nodes] == [BaseNode, MultiNode]
    assert (network.name, network.root, network.folder) == ("net", tmp_path, tmp_path / "net")
    assert list(network.network.jobs) == [1, 2]
    assert list(network.network.pipes) == [1]


def test_only_jobs_are_needed(tmp_path: Path) -> None:
    before = dict(CURRENT_JOBS)
    config = loaded(tmp_path, HEAD + PAIR).config
    assert dataclasses.replace(config, jobs=()) == Config()
    assert dict(CURRENT_JOBS) == before, "the registry of the caller is left alone"


def test_the_config_is_frozen_and_has_every_setting() -> None:
    assert {field.name for field in dataclasses.fields(Config)} == {setting.field for setting in SETTINGS.values()}
    assert {setting.field: setting.default for setting in SETTINGS.values()} == dataclasses.asdict(Config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().user = "x"  # type: ignore[misc]


def test_a_level_of_the_logging_module_will_do(tmp_path: Path) -> None:
    assert loaded(tmp_path, f"{HEAD}{PAIR}import logging\nLOG_LEVEL = logging.WARNING\n").config.log_level == logging.getLevelName(30)


WRONG = [
    ("USER = ' '", "USER must be the name of a user on the nodes, like 'pi', but is ' ' (str)"),
    ("USER = 'pi; rm -r /'", "USER must be"),
    ("REMOTE_ROOT = 'fission'", "REMOTE_ROOT must be an absolute path"),
    ("REMOTE_ROOT = '/'", "choose a folder below one, like /home/pi/fission/"),
    ("REMOTE_ROOT = '/home'", "choose a folder below one"),
    ("REMOTE_ROOT = '/home/../etc'", "choose a folder below one"),
    ("REMOTE_ROOT = '/home//fission/'", "is USER set?"),
    ("LOG_LEVEL = 'DEBG'", "is 'DEBG' (str); did you mean 'DEBUG'?"),
    ("LOG_LEVEL = 11", "LOG_LEVEL must be one of CRITICAL, "),
    ("LOG_FILE = ''", "LOG_FILE must be the path of a file, relative to the project, but is ''"),
    ("CLIENT_IP = '192.168.4.300'", "CLIENT_IP must be the client's IP address or host name, or None, but is '192.168.4.300' (str)"),
    ("CLIENT_IP = 7", "is 7 (int)"),
    ("DEBUG_WINDOW = 'True'", "DEBUG_WINDOW must be True or False, but is 'True' (str); write it without quotes"),
    ("DEBUG_WINDOW = 1", "is 1 (int)"),
    ("NODES = 5", "NODES must be a list of nodes and paths of CSV files, but is 5 (int); put it into a list"),
    ("NODES = BaseNode('a')", "put it into a list"),
    ("NODES = [BaseNode]", "entry 1 of NODES must be a node or the path of a CSV file, but is <class"),
    ("NODES = ['nodes.csv']", "NODES names the file 'nodes.csv', which is neither in the project nor in net"),
    ("NODES = [BaseNode('a'), BaseNode('a')]", "the node a is listed twice"),
    ("PRE_COPY = None", "PRE_COPY must be True or False, but is None"),
    ("XML_FILE = True", "XML_FILE must be the path of an XML file, or None, but is True (bool)"),
    ("XML_FILE = 'net.xml'", "XML_FILE names the file 'net.xml'"),
    ("XML_ARGS = []", "XML_ARGS must be a dict"),
    ("XML_ARGS = {'ipp': 'x'}", "its keys must be among ip, executable"),
    ("XML_ARGS = {'inputs': 'x'}", "did you mean 'input'?"),
    ("XML_ARGS = {'ip': 3}", "the value of its key 'ip' must be a name, but is 3"),
    (
        "PRELOAD = 'numpy'",
        "PRELOAD must be a list of names of installed modules, like ['numpy', 'scipy.signal'], but is 'numpy' (str); put it into",
    ),
    ("PRELOAD = None", "but is None"),
    ("PRELOAD = ['json', 5]", "but is ['json', 5] (list); entry 2 is 5"),
    ("PRELOAD = ['json', 'my module']", "entry 2 is 'my module'"),
    ("PRELOAD = ['json.']", "entry 1 is 'json.'"),
    ("PRELOAD = ['import']", "entry 1 is 'import'"),
    ("PRELOAD = ['json', 'json']", "list 'json' once"),
    (
        "PRELOAD = ['nowhere_at_all']",
        "PRELOAD names 'nowhere_at_all', but there is no module nowhere_at_all; install it here, or correct the name",
    ),
    ("PRELOAD = ['json', 'statistic']", "PRELOAD names 'statistic', but there is no module statistic; did you mean 'statistics'?"),
    ("PRELOAD = ['json.nothing']", "PRELOAD names 'json.nothing', but json has no module nothing; correct the name"),
    ("PRELOAD = ['this.that']", "PRELOAD names 'this.that', but this is not a package; correct the name"),
    (
        "PRELOAD = ['net.config']",
        "PRELOAD must name installed modules, but 'net.config' is a module of the project, which each job imports itself",
    ),
    ("PULSE_INTERVAL = 0.05", "PULSE_INTERVAL must be a number of seconds from 0.1 to 1000, but is 0.05 (float)"),
    ("PULSE_INTERVAL = 1001", "from 0.1 to 1000"),
    ("PULSE_INTERVAL = float('nan')", "is nan (float)"),
    ("PULSE_INTERVAL = True", "is True (bool)"),
    ("HEAD_SIZE = 0", "HEAD_SIZE must be a whole number of bytes from 1 to 4, but is 0 (int)"),
    ("HEAD_SIZE = 5", "is 5 (int)"),
    ("HEAD_SIZE = 1.0", "is 1.0 (float)"),
    ("HEAD_SIZE = '2'", "write it without quotes"),
    ("CLUSTER = 'here'", "CLUSTER must be a Dask scheduler's address"),
    ("CLUSTER = 'tcp://a:99999'", "CLUSTER must be"),
    ("PORT = 0", "PORT must be a port number from 1 to 65535, but is 0 (int)"),
    ("PORT = 65536", "is 65536 (int)"),
    ("ALLOCATION_TIMEOUT = -1", "ALLOCATION_TIMEOUT must be a number of seconds, 0 or more"),
    ("RESTARTS = -1", "RESTARTS must be a whole number, 0 or more"),
    ("RESTARTS = True", "is True (bool)"),
    ("RESTART_WINDOW = 0", "RESTART_WINDOW must be a number of seconds above 0"),
    ("ORPHAN_TIMEOUT = float('inf')", "ORPHAN_TIMEOUT must be"),
    ("DEADLINE = 0", "DEADLINE must be a number of seconds above 0, or None, but is 0 (int)"),
    ("DEADLINE = '1 s'", "DEADLINE must be a number of seconds above 0, or None, but is '1 s' (str)"),
    ("KEEP_RUNS = 0", "KEEP_RUNS must be a whole number of 1 or more, or None for all, but is 0 (int)"),
    ("SECURITY = 'no'", "SECURITY must be True or False"),
    ("DASHBOARD = 'on'", "DASHBOARD must be a port number from 1 to 65535, 'HOST:PORT', or None, but is 'on' (str)"),
    ("DASHBOARD = '::1:8787'", "DASHBOARD must be a port number from 1 to 65535, 'HOST:PORT', or None, but is '::1:8787' (str)"),
]


@pytest.mark.parametrize(("line", "text"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_value_is_reported_with_its_line(tmp_path: Path, line: str, text: str) -> None:
    fault = one_fault(tmp_path, f"{HEAD}{PAIR}{line}\n")
    assert fault.startswith(f"net/config.py:{FIRST + 1}: ")
    assert text in fault


def test_the_check_of_preload_imports_nothing(tmp_path: Path) -> None:
    modules = ("this", "xml.dom.pulldom", "sys")
    for name in ("this", "xml.dom.pulldom"):
        sys.modules.pop(name, None)
    assert loaded(tmp_path, f"{HEAD}{PAIR}PRELOAD = {list(modules)}\n").config.preload == modules
    assert loaded(tmp_path, f"{HEAD}{PAIR}PRELOAD = ()\n").config.preload == ()
    assert not {"this", "xml.dom.pulldom"} & set(sys.modules)


def test_every_setting_is_tried_above() -> None:
    assert {line.split(" =")[0] for line, _ in WRONG} == set(SETTINGS) - {"JOBS"}


WRONG_JOBS = [
    ("", "net/config.py: JOBS is missing; it must be a list of jobs, or the path of a CSV file"),
    ("jobs = []", "JOBS is missing; it must be a list of jobs, or the path of a CSV file; rename jobs: settings are written in capitals"),
    ("JOBS = []", "JOBS is empty; put at least one job into it"),
    ("JOBS = None", "JOBS must be a list of jobs, or the path of a CSV file, but is None; put it into a list: [...]"),
    ("JOBS = SinkJob(inputs=[])", "put it into a list: [...]"),
    ("JOBS = [SourceJob]", "entry 1 of JOBS must be a job, but is <class 'net.jobs.jobs.SourceJob'> (JobType); create one: SourceJob(...)"),
    ("JOBS = [PicklePipe(3)]", "entry 1 of JOBS must be a job, but is PicklePipe 3 (PicklePipe)"),
    ("JOBS = 'jobs.csv'", "JOBS names the file 'jobs.csv', which is neither in the project nor in net; correct the path"),
]


@pytest.mark.parametrize(("line", "text"), WRONG_JOBS, ids=[line for line, _ in WRONG_JOBS])
def test_jobs_that_are_no_jobs(tmp_path: Path, line: str, text: str) -> None:
    assert text in one_fault(tmp_path, f"{HEAD}{line}\n")


def test_a_job_twice_in_the_list(tmp_path: Path) -> None:
    assert "SourceJob 1 is listed twice in JOBS" in one_fault(
        tmp_path, f"{HEAD}job = SourceJob(outputs=[PicklePipe(1)])\nJOBS = [job, job]\n"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOGLEVEL", "LOG_LEVEL"),
        ("NODE", "NODES"),
        ("JBOS", "JOBS"),
        ("PULSE_INTERVALL", "PULSE_INTERVAL"),
        ("RESTART", "RESTARTS"),
        ("HEADSIZE", "HEAD_SIZE"),
        ("CLIENTIP", "CLIENT_IP"),
        ("XMLFILE", "XML_FILE"),
        ("PRECOPY", "PRE_COPY"),
    ],
)
def test_misspelt_settings_are_refused(tmp_path: Path, name: str, meant: str) -> None:
    fault = one_fault(tmp_path, f"{HEAD}{PAIR}{name} = 3\n")
    assert fault.startswith(f"net/config.py:{FIRST + 1}: {name} is not a setting; did you mean {meant}?")


def test_other_names_in_capitals_are_the_users(tmp_path: Path) -> None:
    own = "RATE = 3\nHEAD = 4\nLOG_DIR = 'x'\nDEBUG = 1\nUSER_ID = 3\n_JOB = 1\nMICROPHONES = []\nDEADLINE_S = 1\n"
    own += "class NODE: pass\ndef PORTS(): pass\n"
    loaded(tmp_path, HEAD + PAIR + own)


def test_settings_may_come_from_shared(tmp_path: Path) -> None:
    shared = {"shared/__init__.py": "", "shared/common.py": "HEAD_SIZE = 3\nPULS_INTERVAL = 1\n"}
    fault = one_fault(tmp_path, HEAD + PAIR + "from shared.common import *\n", shared)
    assert "PULS_INTERVAL is not a setting; did you mean PULSE_INTERVAL?" in fault


def test_all_faults_at_once(tmp_path: Path) -> None:
    config = (
        HEAD
        + """
LOG_LEVEL = "LOUD"
NODE = []
PULSE_INTERVAL = 0
JOBS = [
    SourceJob(outputs=[PicklePipe(1)]),
    SourceJob(outputs=[PicklePipe(1), PicklePipe(2)]),
    SinkJob(inputs=[ReducePipe(1)]),
]
NODES = ["nodes.csv"]
"""
    )
    found = faults(tmp_path, config, {"nodes.csv": "name,ip\nkitchen,\n"})
    text = "\n".join(found)
    line = FIRST
    for expected in (
        f"net/config.py:{line + 1}: LOG_LEVEL must be",
        f"net/config.py:{line + 2}: NODE is not a setting",
        f"net/config.py:{line + 3}: PULSE_INTERVAL must be",
        "nodes.csv:2: the address of the node is missing",
        "two sources",
        "pipe 2",
        "ReducePipe",
    ):
        assert expected in text, text
    assert len(found) == len(set(found))


def test_a_job_that_was_made_but_not_listed_is_named_with_what_it_breaks(tmp_path: Path) -> None:
    config = HEAD + "sink = SinkJob(inputs=[PicklePipe(1)])\nJOBS = [SourceJob(outputs=[PicklePipe(1)])]\n"
    found = faults(tmp_path, config)
    assert f"net/config.py:{FIRST}: SinkJob 1 was created but is not in JOBS; add it to the list, or remove it" in found
    assert any("pipe 1" in fault for fault in found)


def test_a_job_left_out_on_purpose_is_not_a_fault(tmp_path: Path) -> None:
    assert list(loaded(tmp_path, HEAD + PAIR + "spare = SourceJob(outputs=[PicklePipe(9)])\n").network.jobs) == [1, 2]


# -- what the user's modules raise


RAISES = [
    ("1/0\n", f"net/config.py:{FIRST}: ZeroDivisionError: division by zero"),
    ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'; if it is a package, install it where FISSION runs"),
    (
        "raise ModuleNotFoundError(\"No module named 'pypelinin'\", name='pypelinin')\n",
        "is a wheel of its own, which `make wheel` in a clone",
    ),
    ("from net.jobs.jbos import X\n", f"net/config.py:{FIRST}: ModuleNotFoundError: No module named 'net.jobs.jbos'; did you mean"),
    ("from net.jobs.other import X\n", "net is in this project, but has no module jobs.other"),
    ("from net.jobs.jobs import SorceJob\n", "did you mean 'SourceJob'?"),
    ("JOBS = [\n", f"net/config.py:{FIRST}: SyntaxError: '[' was never closed: JOBS = ["),
    ("JOBS = [SourceJob(output=[])]\n", f"got an unexpected keyword argument 'output' (called from net/config.py:{FIRST})"),
    ("import net.bad\n", "net/bad.py:2: RuntimeError: boom"),
    ("import net.broken\n", "net/broken.py:1: SyntaxError: "),
    ("JOBS = [SourceJop(outputs=[])]\n", f"net/config.py:{FIRST}: NameError: name 'SourceJop' is not defined; did you mean 'SourceJob'?"),
    ("xyzzy\n", f"net/config.py:{FIRST}: NameError: name 'xyzzy' is not defined"),
    (
        "import net.forgets\n",
        "net/forgets.py:1: NameError: name 'PythonJob' is not defined; import it: from fission.core.jobs import PythonJob (",
    ),
    ("exit(3)\n", f"net/config.py:{FIRST}: SystemExit: 3"),
    ("raise Exception\n", f"net/config.py:{FIRST}: Exception"),
    ("x = '\\0'\n\0", "null bytes"),
]


@pytest.mark.parametrize(("line", "text"), RAISES, ids=[repr(line) for line, _ in RAISES])
def test_an_exception_of_the_config_is_reported_with_the_users_line(tmp_path: Path, line: str, text: str) -> None:
    files = {"net/bad.py": "def f():\n    raise RuntimeError('boom')\n\n\nf()\n", "net/broken.py": "def\n"}
    files["net/forgets.py"] = "class Job(PythonJob): pass\n"
    assert text in one_fault(tmp_path, HEAD + line, files)


def test_all_names_that_a_config_forgets_to_import_are_in_one_line(tmp_path: Path) -> None:
    config = "PIPE, JSONPipe = PIPES[1], 1\nJOBS = [CSVSinkJob('a.csv', inputs=[PicklePipe(1)]), LoggingSinkJob(JSONPipe), Unknown()]\n"
    config += "def later(BytesPipe): return BytesPipe, BaseNode\nclass MicrophoneJob: pass\nMicrophoneJob()\n"
    assert one_fault(tmp_path, config) == (
        "net/config.py:1: NameError: name 'PIPES' is not defined; import them: from fission.core.jobs import CSVSinkJob, LoggingSinkJob; "
        "from fission.core.pipes import PicklePipe; from fission.core.nodes import BaseNode; from fission.core.base import PIPES"
    )


def test_every_module_that_the_advice_names_exists() -> None:
    for module in undefined_names.SOURCES:
        assert importlib.import_module(module).__all__


def test_a_config_that_fails_still_reports_its_other_faults(tmp_path: Path) -> None:
    found = faults(tmp_path, HEAD + "LOGLEVEL = 1\nPicklePipe(0)\n1/0\n")
    assert [any(text in fault for fault in found) for text in ("LOGLEVEL is not", "PicklePipe", "ZeroDivisionError")] == [True] * 3


def test_ctrl_c_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loaded(tmp_path, "raise KeyboardInterrupt\n")


# -- networks, projects, and what a process remembers


def test_unknown_networks_get_the_nearest_name_and_the_list(tmp_path: Path) -> None:
    root = project(tmp_path, HEAD + PAIR)
    project(root, HEAD + PAIR, name="other")
    (root / "shared").mkdir()
    assert list_networks(root) == ["net", "other"]
    with pytest.raises(UnknownNameError, match=r"no network 'nett' in .*; did you mean 'net'\? Networks: net, other"):
        load(root, "nett")
    with pytest.raises(UnknownNameError, match=r"'shared' has no config\.py"):
        load(root, "shared")
    with pytest.raises(UnknownNameError, match=r"no network '\.\./net'"):
        load(root, "../net")
    with pytest.raises(UnknownNameError, match=r"make one with: python3 manage\.py NAME startnetwork"):
        load(root / "shared", "net")


def test_a_project_is_found_from_below(tmp_path: Path) -> None:
    root = project(tmp_path / "p", HEAD)
    assert find_project(root / "net" / "jobs") == root
    other = root / "web"
    other.mkdir()
    (other / "manage.py").write_text("import django")
    assert find_project(other) == root
    with pytest.raises(UserError, match="fission startproject NAME"):
        find_project(tmp_path)


def test_each_load_reads_the_config_again(tmp_path: Path) -> None:
    assert loaded(tmp_path, HEAD + PAIR).config.head_size == 1
    assert loaded(tmp_path, HEAD + PAIR + "HEAD_SIZE = 2  # longer than before\n").config.head_size == 2
    assert sys.path.count(str(tmp_path)) == 1


def test_two_networks_of_one_process(tmp_path: Path) -> None:
    root = project(tmp_path, HEAD + PAIR)
    project(root, HEAD.replace("net.", "other.", 1) + PAIR, name="other")
    first, second = load(root, "net"), load(root, "other")
    assert first.network.jobs[1] is not second.network.jobs[1]
    again = pickle.loads(pickle.dumps(first.network.jobs[1]))
    assert type(again) is type(first.network.jobs[1]), "classes keep their identity"


def test_two_projects_with_the_same_names(tmp_path: Path) -> None:
    head = "from fission.core.jobs import PythonJob\n\n\n"
    shared = "class SharedJob(PythonJob):\n    WHO = {who!r}\n\n    def run(self):\n        return 1\n"
    config = HEAD + "from shared.jobs import SharedJob\nJOBS = [SharedJob()]\n"
    for name in ("one", "two"):
        network = loaded(tmp_path / name, config, {"shared/__init__.py": "", "shared/jobs.py": head + shared.format(who=name)})
        assert vars(type(network.network.jobs[1]))["WHO"] == name


def test_networks_import_from_each_other(tmp_path: Path) -> None:
    root = project(tmp_path, HEAD + PAIR)
    project(root, HEAD + "from net.config import JOBS\n", name="other")
    for _ in range(2):
        assert [job.name for job in load(root, "other").config.jobs] == ["SourceJob 1", "SinkJob 2"]
        assert [job.name for job in load(root, "net").config.jobs] == ["SourceJob 1", "SinkJob 2"]


def test_a_simulation_does_not_check_files_that_it_does_not_need(tmp_path: Path) -> None:
    remote = "NODES = ['nowhere.csv']\nCLIENT_IP = 3\nUSER = ' '\nREMOTE_ROOT = '/'\nCLUSTER = 1\n"
    network = loaded(tmp_path, HEAD + PAIR + remote, simulation=True)
    assert network.config.nodes == ()
    assert len(faults(tmp_path, HEAD + PAIR + remote)) == 5


def test_the_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, HEAD)
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults


def test_settings_and_the_config_have_the_same_defaults() -> None:
    defaults = {field.name: getattr(Config(), field.name) for field in dataclasses.fields(Config)}
    assert {setting.field: setting.default for setting in SETTINGS.values()} == defaults
