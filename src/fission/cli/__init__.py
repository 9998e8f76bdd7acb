"""The command line: ``fission``, ``fission_admin.py`` and a project's ``manage.py``."""
