"""Tools for writers of networks: jobs called like functions, one-thread networks, recordings.

The entry points are `fission.emulate`, `fission.recordings` and the pytest plugin, which is active
wherever FISSION is installed.
"""
