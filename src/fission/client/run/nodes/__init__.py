"""The nodes of a run.

Which machine is which node of the config (`configured_nodes`), what is known of each node
(`nodes`), and which are up (`node_watch`).
"""
