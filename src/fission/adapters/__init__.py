"""One outside thing a file; none imports another."""
