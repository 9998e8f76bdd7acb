"""The messages between FISSION's processes: typed and frozen, one file per direction, with one
strict codec for all.
"""
