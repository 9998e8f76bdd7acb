"""What the user reads of a run: the outcome of a job, its failures and warnings, the summary.

Nothing here decides anything or reaches a job.
"""
