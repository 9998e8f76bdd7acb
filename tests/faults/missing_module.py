"""A module that loads on the client, but not in the job's process, where another module is missing."""

import os

from fission.core.jobs import PythonJob

if os.path.basename(os.getcwd()).isdigit():  # the folder of a job
    import a_module_that_is_missing  # noqa: F401


class MissingModule(PythonJob):
    def run(self, value):
        return value
