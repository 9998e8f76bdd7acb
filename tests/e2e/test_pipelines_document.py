"""The code of the pypelinin document as printed there: three scripts with its constructors, a pipeline, a manager, the result file.

Its addresses are those of the document, so it runs on a separate host (a network namespace), where no other program uses them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fission
from tests.e2e.support import document
from tests.pipelines.hosts import Hosts
from tests.waiting import eventually

LOGGER = """
import sys
from logging import Formatter, Logger, StreamHandler

logger = Logger({name!r})
handler = StreamHandler(sys.stdout)
handler.setFormatter(Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
logger.addHandler(handler)
"""
SCRIPTS = {
    "my_router.py": LOGGER.format(name="My Router")
    + """
from pypelinin import Router

config = {"store": {"monitoring filename": "monitoring.log"}, "monitoring interval": 60}
router = Router(("*", 5555), ("*", 5556), config, logger)
router.start()
""",
    "my_broker.py": LOGGER.format(name="Broker")
    + """
from pypelinin import Broker
from file_store import SimpleFileStore

broker = Broker(api="tcp://localhost:5555", broadcast="tcp://localhost:5556", store_class=SimpleFileStore,
                workers="workers", logger=logger, logger_name="Broker", poll_time=50, number_of_workers=2)
broker.start()
""",
    "my_pipeliner.py": LOGGER.format(name="Pipeliner")
    + """
from pypelinin import Pipeliner

pipeliner = Pipeliner(api="tcp://localhost:5555", broadcast="tcp://localhost:5556", logger=logger, poll_time=50)
pipeliner.start()
""",
    "workers.py": """
from pypelinin import Worker

__all__ = ["WorkerName1", "WorkerName2", "WorkerName3"]


class WorkerName1(Worker):
    requires = ["foo"]

    def process(self, data):
        return {"one": data["foo"] + " 1"}


class WorkerName2(Worker):
    requires = ["one"]

    def process(self, data):
        return {"two": data["one"] + " 2"}


class WorkerName3(Worker):
    requires = ["two"]

    def process(self, data):
        return {"three": data["two"] + " 3"}
""",
    "file_store.py": """
import json


class SimpleFileStore(object):
    def __init__(self, **configuration):
        self.monitoring = configuration["monitoring filename"]

    def known(self, data):
        try:
            with open("result.data") as fp:
                return json.loads(fp.read())
        except FileNotFoundError:
            return dict(data)

    def retrieve(self, info):
        known = self.known(info["data"])
        return {name: known[name] for name in info["worker_requires"]}

    def save(self, info):
        known = dict(self.known(info["data"]), **info["worker_result"])
        with open("result.data", "w") as fp:
            fp.write(json.dumps(known))

    def save_monitoring(self, data):
        with open(self.monitoring, "a") as fp:
            fp.write(json.dumps(data) + "\\n")
""",
}


@pytest.mark.slow
def test_the_document(tmp_path: Path) -> None:
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "send.py").write_text(document("004_pipeline", "004_manager"))
    environment = {**os.environ, "PYTHONPATH": str(Path(fission.__path__[0]).parent), "PYTHONUNBUFFERED": "1"}
    with Hosts(1) as hosts:
        started: list[subprocess.Popen[bytes]] = []

        def said(script: str) -> str:
            return (tmp_path / f"{script}.log").read_text()

        try:
            for script in ("my_router.py", "my_broker.py", "my_pipeliner.py"):
                with open(tmp_path / f"{script}.log", "wb") as log:
                    command = [*hosts.inside(0), sys.executable, script]
                    started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT))
            command = [*hosts.inside(0), sys.executable, "send.py"]
            eventually(lambda: "Entering main loop" in said("my_router.py"), 20, lambda: said("my_router.py"))
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40, check=False)
            assert (done.stdout, done.stderr) == ("done\n", ""), said("my_router.py") + said("my_broker.py") + said("my_pipeliner.py")
        finally:
            for process in started:
                process.send_signal(signal.SIGINT)
            codes = [process.wait(20) for process in started]
    assert codes == [0, 0, 0]
    namespace: dict[str, object] = {}
    exec(document("004_read_result"), namespace)
    read_result_file = namespace["read_result_file"]
    assert callable(read_result_file)
    assert read_result_file(tmp_path / "result.data") == {"foo": "bar", "one": "bar 1", "two": "bar 1 2", "three": "bar 1 2 3"}
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    for script, line in {
        "my_router.py": "My Router - INFO - Entering main loop",
        "my_broker.py": "Broker - INFO - [API] Request to router: {'command': 'get configuration'}",
        "my_pipeliner.py": "Pipeliner - INFO - Pipeliner started",
    }.items():
        assert re.search(f"^{stamp} - {re.escape(line)}$", said(script), re.MULTILINE), said(script)
