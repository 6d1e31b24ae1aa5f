"""A benchmark in which everything is known: films of drawn people and the truth about them. See docs/groundtruth.md."""
