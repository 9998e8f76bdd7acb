"""The service of a node: ``fission node``."""
