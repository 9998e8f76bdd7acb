"""The command line: ``fission``, ``fission_admin.py`` and a project's ``manage.py``.

Internal: may change without notice. Only `fission.cli.main.manage`, which the manage.py of a
project calls, stays.
"""
