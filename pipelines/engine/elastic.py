"""Ray Data on a cluster whose nodes come and go.

A pipeline of Ray Data has actors in fixed numbers. When a node is lost and nothing replaces it, its actors wait for
room that never comes, and what they had in hand waits with them; a node that is added is left idle. So the pipeline
lives in an actor of its own: when the cluster has changed for good that actor is killed, its pools with it, and a new
pipeline takes the rows that are left. Finished units are committed, so only those in hand are done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipelines.engine.executors import Infeasible, Pool, Row, cluster_size, pipeline, place

log = logging.getLogger(__name__)
# How long a smaller or a larger cluster must last before the pools follow it. A larger one is worth a restart, which
# loads all models again, only now and then.
LOSS_SECONDS = 15.0
GAIN_SECONDS = 60.0
GAIN_EVERY_SECONDS = 600.0
# How long to wait for nodes when those that are left can never hold the pools.
NODES_SECONDS = 1800.0
LOOK_SECONDS = 2.0
NUMBER = "number"
Size = tuple[float, float]


class Cluster:
    """Watches how large the cluster is."""

    def __init__(self, size: Size) -> None:
        self.size = self.seen = size
        self.since = self.placed_at = time.monotonic()

    def changed(self, now: Size) -> bool:
        """Whether the cluster differs for good from what the pools were placed on."""
        if now != self.seen:
            self.seen, self.since = now, time.monotonic()
        if now == self.size:
            return False
        lasted = time.monotonic() - self.since
        if any(new < old for new, old in zip(now, self.size)):
            return lasted > LOSS_SECONDS
        return lasted > GAIN_SECONDS and time.monotonic() - self.placed_at > GAIN_EVERY_SECONDS


def run_elastic(rows: Sequence[Row], pools: Sequence[Pool], restarted: Callable[[], None]) -> Iterator[Row]:
    """Every row through every pool, on whatever nodes there are. Rows come back as they finish, each once."""
    import ray
    from ray.exceptions import RayError

    left = {number: {**row, NUMBER: number} for number, row in enumerate(rows)}
    placed = place(pools, cluster_size())
    while left:
        cluster = Cluster(cluster_size())
        runner = _runner()
        stream = runner.run.options(num_returns="streaming").remote(list(left.values()), placed)
        try:
            while left:
                ready, _ = ray.wait([stream], timeout=LOOK_SECONDS)
                if ready:
                    row = ray.get(next(stream))
                    if left.pop(row.pop(NUMBER), None) is not None:
                        yield row
                if cluster.changed(cluster_size()):
                    log.warning("the cluster has now %g CPU and %g GPU: the pools are placed anew", *cluster.seen)
                    break
        except StopIteration:
            if left:
                raise RuntimeError(f"the pipeline ended, but {len(left)} rows never came back") from None
        except RayError as error:
            if cluster_size() == cluster.size:
                raise
            log.warning("the pipeline went with a node (%s)", type(error).__name__)
        finally:
            ray.kill(runner)
        if left:
            restarted()
            placed = _place_when_possible(pools)


def _runner() -> Any:
    """An actor on this node, which reserves nothing and holds the pipeline."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Runner:
        def run(self, rows: list[Row], placed: list[Pool]) -> Iterator[Row]:
            yield from pipeline(rows, placed)

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote
    return remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(Runner).remote()


def _place_when_possible(pools: Sequence[Pool]) -> list[Pool]:
    """The pools on what is there now; while they cannot fit, wait for nodes."""
    end = time.monotonic() + NODES_SECONDS
    while True:
        try:
            return place(pools, cluster_size())
        except Infeasible:
            if time.monotonic() > end:
                raise
            log.warning("the nodes that are left cannot hold the pools: waiting for more")
            time.sleep(LOOK_SECONDS)
