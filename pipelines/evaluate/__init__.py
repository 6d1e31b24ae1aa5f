"""Evaluation: the field's metrics under two named protocols, tables beside the published ones, the datasets' splits."""
