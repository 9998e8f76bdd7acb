"""The service of a node, which ``fission node`` runs."""
