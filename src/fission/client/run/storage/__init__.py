"""What survives the client: its event log and the jobs' checkpoints.

A new client continues the run from them (`resume_state`, `resuming`).
"""
