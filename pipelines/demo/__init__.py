"""Short rendered videos of the free body: something to run on where there are no videos yet."""

from pipelines.demo.videos import FILMS, make_demo_videos

__all__ = ["FILMS", "make_demo_videos"]
