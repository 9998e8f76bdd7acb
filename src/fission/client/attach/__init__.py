"""What other terminals do with a network that runs, or with its nodes when it does not."""
