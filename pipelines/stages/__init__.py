"""One file per stage of the preprocessing: plain functions and classes from arrays to arrays, with no Ray inside."""
