"""What FISSION needs of POSIX systems, once each: fork servers, signals, descendants of a process."""
