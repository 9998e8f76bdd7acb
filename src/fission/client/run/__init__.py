"""One run of a network: its plan, its jobs, its nodes and its end."""
