"""`vividpose latents`: the frozen encoders over every frame of a dataset, once, beside its shards."""
