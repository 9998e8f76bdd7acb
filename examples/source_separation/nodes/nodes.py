"""The kinds of nodes of source_separation: it needs none of its own."""
