"""Reading videos of any kind, and writing and reading the project's own clips."""
