"""The POSIX services that FISSION uses: fork servers, signals, descendants of a process.

Internal: may change without notice.
"""
