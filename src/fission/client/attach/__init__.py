"""What other terminals do with a running network, or with its nodes when it is not running."""
