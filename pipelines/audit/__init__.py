"""The audit of a finished dataset: what is in it, what is wrong with it, what may be used."""
