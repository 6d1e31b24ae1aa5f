"""The main job: sources in, shards out. Plan, workers, the run itself and what it tells at the end."""
