"""The networks behind the metrics, written out with the names and shapes of the published files."""
