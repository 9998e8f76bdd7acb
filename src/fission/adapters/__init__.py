"""Adapters to the outside world, one per file; none imports another.

Internal: may change without notice.
"""
