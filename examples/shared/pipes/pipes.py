"""The pipes of shared.

Most networks do with those of fission.core.pipes; an own one is a subclass:

    from fission.core.pipes import PicklePipe

    class ReducePipe(PicklePipe):
        BLOCK_COUNT = 5  # five blocks at a time, as a list
"""
