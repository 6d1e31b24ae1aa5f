"""Two ways to push rows through pools of workers: in this process, or through Ray Data. Same workers, same bytes.

A row is a small JSON-able reference to a unit, never frames. Workers commit their own results to the ledger, so a row
that Ray runs twice does no harm. What comes back is the row with a note of how it ended.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from pipelines.engine.atomic import DiskFull
from pipelines.engine.metrics import label_process
from pipelines.engine.setup_error import SetupError
from pipelines.engine.threads import THREAD_ENVIRONMENT, one_thread

log = logging.getLogger(__name__)
Row = dict[str, Any]
# Row keys that the executors set; a row that has STOP passes through the remaining pools untouched.
STOP, MESSAGE = "stop", "message"


class Worker(Protocol):
    """Something that does one step for a row and returns it, with STOP set when the row needs no further step."""

    def __call__(self, row: Row) -> Row: ...


@dataclass(frozen=True)
class Pool:
    """Workers of one kind. `make` builds a worker inside its process.

    workers: how many, or 0 to let the executor share out what the machine has. cpus, gpus: what one worker reserves.
    rows: how many rows a worker is handed at a time; with more than one it can prepare the next during the current.
    """

    name: str
    make: Callable[[], Worker]
    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    rows: int = 1


class Infeasible(RuntimeError):
    """The pools ask for more than the machine or cluster has; waiting would never end."""


def guarded(worker: Worker, row: Row) -> Row:
    """Run a worker on a row. A full disk, a wrong set-up and an unexpected exception end the row, not the process."""
    if row.get(STOP):
        return row
    try:
        return worker(row)
    except DiskFull as full:
        return {**row, STOP: "disk_full", MESSAGE: full.args[0]}
    except SetupError as error:
        return {**row, STOP: "setup", MESSAGE: str(error)}
    except Exception:  # noqa: BLE001 - a bug on one clip must not end a job of thousands; the run reports it and exits 1
        return {**row, STOP: "failed", MESSAGE: traceback.format_exc()}


def in_turn(worker: Worker, rows: Sequence[Row]) -> Iterator[Row]:
    """Run a worker on rows one after the other; one that can `prepare` is told of the next row before it begins."""
    prepare = getattr(worker, "prepare", None)
    for row, following in zip_longest(rows, rows[1:]):
        if prepare is not None and following is not None and not following.get(STOP):
            prepare(following)
        yield guarded(worker, row)


def nothing() -> None:
    """What is done about a restart when nobody keeps count."""


def run_inline(rows: Sequence[Row], pools: Sequence[Pool], restarted: Callable[[], None] = nothing) -> Iterator[Row]:
    """Every row through every pool, one after the other, in this process."""
    workers = [pool.make() for pool in pools]
    for row in rows:
        for worker in workers:
            row = guarded(worker, row)
        yield row


def share_out(pools: Sequence[Pool], cpus: float, gpus: float) -> list[Pool]:
    """Fix how many workers each pool gets, so that all pools run at the same time within `cpus` and `gpus`.

    Pools that name a number keep it. The others get one each, then one more in turn while there is room. On a machine
    with fewer cores than pools the workers of the unnamed pools share cores. Raises `Infeasible` if the minimum does
    not fit.
    """
    automatic = [pool for pool in pools if pool.workers == 0]
    fixed = sum(pool.workers * pool.cpus for pool in pools)
    room = cpus - fixed
    wanted = sum(pool.cpus for pool in automatic)
    shrink = min(1.0, room / wanted) if wanted else 1.0
    need_gpus = sum(max(pool.workers, 1) * pool.gpus for pool in pools)
    if fixed > cpus or (wanted and room <= 0) or need_gpus > gpus:
        table = ", ".join(f"{p.name}: {max(p.workers, 1)} x ({p.cpus:g} CPU, {p.gpus:g} GPU)" for p in pools)
        raise Infeasible(
            f"the pools need {fixed + wanted:g} CPU and {need_gpus:g} GPU at the same time ({table}), but there are "
            f"{cpus:g} CPU and {gpus:g} GPU. Lower `workers`, `cpus` or `gpus` under `pools` in the configuration, or "
            "use a larger machine or cluster."
        )
    shared = {p.name: replace(p, workers=1, cpus=p.cpus * shrink) for p in automatic}
    left_cpus, left_gpus = room - wanted * shrink, gpus - need_gpus
    grew = bool(shared)
    while grew:
        grew = False
        for name, pool in shared.items():
            if pool.cpus <= left_cpus + 1e-9 and pool.gpus <= left_gpus + 1e-9 and shrink == 1.0:
                shared[name] = replace(pool, workers=pool.workers + 1)
                left_cpus, left_gpus = left_cpus - pool.cpus, left_gpus - pool.gpus
                grew = True
    return [shared.get(pool.name, pool) for pool in pools]


def _actor_class(pool: Pool) -> type:
    """Ray Data's actor for a pool: builds the worker once, then maps batches of rows (held as JSON text, one column).

    The class carries `make` itself: constructor arguments would lie in the object store, and an actor whose arguments
    are lost there cannot be restarted (ray-project/ray#53727).
    """

    class Actor:
        def __init__(self) -> None:
            one_thread()
            label_process(pool.name)
            self.worker = pool.make()

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            rows = [json.loads(text) for text in batch["row"]]
            return {"row": [json.dumps(row) for row in in_turn(self.worker, rows)]}

    Actor.__name__ = Actor.__qualname__ = pool.name
    return Actor


class NoCluster(RuntimeError):
    """The Ray cluster in RAY_ADDRESS cannot be joined."""


def start_ray() -> None:
    """Join the cluster in RAY_ADDRESS, or start a local Ray; nothing if one is already running in this process.

    Raises `NoCluster`.
    """
    address = os.environ.get("RAY_ADDRESS")
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if address and (token.is_file() or os.environ.get("RAY_AUTH_TOKEN")):
        # `ray start` asks for the token by default, `ray.init` does not offer it by default. Read when ray is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    # Ray warns in red about how Ray Data itself passes arguments to its actors; its own log files keep everything.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {
        "logging_level": logging.WARNING,
        "log_to_driver": False,
        "configure_logging": False,
        "runtime_env": {"env_vars": THREAD_ENVIRONMENT},
    }
    if not address:
        # Rows are references of a few hundred bytes: the smallest object store is plenty.
        ray.init(address="local", include_dashboard=False, object_store_memory=128 << 20, **options)
        return
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError) as error:
        raise NoCluster(
            f"cannot join the Ray cluster at RAY_ADDRESS={address}: {str(error).splitlines()[0]}. If it asks for a "
            "token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH; without RAY_ADDRESS a Ray is started here."
        ) from error


def pipeline(rows: Sequence[Row], placed: Sequence[Pool]) -> Iterator[Row]:
    """Rows through pools of fixed sizes as one Ray Data pipeline; they come back as they finish."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    blocks = max(1, min(-(-len(rows) // max(pool.rows for pool in placed)), 2000))
    data: ray.data.Dataset = ray.data.from_items(
        [{"row": json.dumps(row)} for row in rows], override_num_blocks=blocks
    )
    for pool in placed:
        data = data.map_batches(
            _actor_class(pool),
            batch_size=pool.rows,
            compute=ray.data.ActorPoolStrategy(size=min(pool.workers, blocks)),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
        )
    for item in data.iter_rows():
        yield json.loads(item["row"])


def run_ray(rows: Sequence[Row], pools: Sequence[Pool], restarted: Callable[[], None] = nothing) -> Iterator[Row]:
    """Every row through every pool with Ray; rows come back as they finish.

    A Ray that was started here has this machine and no other. On a cluster nodes come and go: see `elastic`.
    """
    start_ray()
    if os.environ.get("RAY_ADDRESS"):
        from pipelines.engine.elastic import run_elastic

        yield from run_elastic(rows, pools, restarted)
    else:
        yield from pipeline(rows, place(pools, cluster_size()))


def cluster_size() -> tuple[float, float]:
    """(CPUs, GPUs) of the nodes that are alive."""
    import ray

    total = ray.cluster_resources()
    return total.get("CPU", 0.0), total.get("GPU", 0.0)


def place(pools: Sequence[Pool], size: tuple[float, float]) -> list[Pool]:
    """`share_out`, told in the log."""
    placed = share_out(pools, *size)
    log.info("pools: %s", ", ".join(f"{p.name}: {p.workers} x {p.cpus:g} CPU, {p.gpus:g} GPU" for p in placed))
    return placed


class Executor(Protocol):
    """Pushes rows through pools. `restarted` is called when workers were ended through no fault of their rows."""

    def __call__(
        self, rows: Sequence[Row], pools: Sequence[Pool], restarted: Callable[[], None] = ...
    ) -> Iterator[Row]: ...


EXECUTORS: dict[str, Executor] = {"ray": run_ray, "inline": run_inline}
