"""`vividpose animate`: reference pictures and driving videos in, mp4 out; jobs are units of the engine."""
