"""Tools for writers of networks: jobs called like functions, one-thread networks, recordings.

Public: `pytest_plugin`. The other modules are internal.

The entry points are `fission.emulate`, `fission.recordings` and the pytest plugin, which is active
wherever FISSION is installed.
"""
