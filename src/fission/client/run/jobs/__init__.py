"""The jobs of a run as the client handles them.

What a job's process receives (`bundles`), how the client reaches it (`job_channel`), which
processes run (`processes`), what they have counted (`counters`), and which make no progress
(`stalled_jobs`).
"""
