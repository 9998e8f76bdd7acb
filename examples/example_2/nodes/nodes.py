"""The kinds of nodes of example_2.

A kind is only needed to put nodes into groups; jobs with the same group are placed there:

    from fission.core.nodes import BaseNode

    class MicNode(BaseNode):
        GROUPS = ["HAS_MIC", "ALL"]
"""
