"""Placement without processes: `allocate` and ``check --survive``. Nothing is started."""
