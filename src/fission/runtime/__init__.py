"""The process of one job. It receives its links ready-made and knows no adapter by name.

Internal: may change without notice.
"""
