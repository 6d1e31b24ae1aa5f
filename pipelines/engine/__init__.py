"""Units of work, their ledger, and the executors that run them."""
