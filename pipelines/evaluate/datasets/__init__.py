"""The datasets that results are published on: layout, split, and what to do to get them."""
