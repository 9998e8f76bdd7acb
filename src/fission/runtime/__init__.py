"""One job's process: it is handed its links and knows no adapter by name."""
