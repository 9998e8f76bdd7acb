"""A store that keeps what is known of a page in a file of JSON; a pipeline's data name the file."""

import fcntl
import json
import os
from contextlib import contextmanager


class SimpleFileStore:
    """For one machine: the files are where all worker processes can reach them."""

    def __init__(self, **configuration):
        # made in every worker process, with what the Router's configuration has under "store"
        self.monitoring_filename = configuration["monitoring filename"]

    def retrieve(self, info):
        """What the worker's `process` gets: the values that it requires."""
        with open(info["data"]["filename"]) as file:
            known = json.load(file)
        return {name: known[name] for name in info["worker_requires"]}

    def save(self, info):
        """Adds what `process` returned. A job that is run a second time has the same info["job id"]; here it just writes the same again."""
        filename = info["data"]["filename"]
        with locked(filename):  # GetLinks and GetTextAndWords may be ready at the same time
            with open(filename) as file:
                known = json.load(file)
            known.update(info["worker_result"])
            with open(filename + ".new", "w") as file:
                json.dump(known, file)
            os.replace(filename + ".new", filename)  # so that the file is there as a whole, whenever the machine stops

    def save_monitoring(self, data):
        with open(self.monitoring_filename, "a") as file:
            file.write(json.dumps(data) + "\n")


@contextmanager
def locked(filename):
    with open(filename + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
