"""Tools for those who write networks: jobs called like functions, networks in one thread, recordings, fixtures for pytest.

The front doors are `fission.emulate`, `fission.recordings` and the pytest plugin, which is there as soon as FISSION is installed.
"""
