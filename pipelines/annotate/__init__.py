"""The annotate phase: estimators wrapped as stages of the engine, one unit per clip and stage."""
