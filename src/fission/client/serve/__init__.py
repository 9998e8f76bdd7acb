"""What a running network answers and shows to other terminals."""
