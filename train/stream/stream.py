"""The stream: endless batches in one global order, the same for any number of ranks and workers, resumed by one
number."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from pipelines.engine.atomic import digest
from pipelines.shard_format import BadSample
from train.stream.batch import Replaced, TrainBatch, collate
from train.stream.clip_choice import ClipChoice
from train.stream.dataset import BadDataset, Dataset, open_dataset
from train.stream.decode import MEMBERS, decode_clip
from train.stream.latents import Latents, SampleLatents, find_latents
from train.stream.order import ORDER_VERSION, EpochOrder, GlobalOrder, MixtureChoice, Place, rank_positions
from train.stream.rng import sample_rng
from train.stream.settings import StreamSettings
from train.stream.storage import LocalStorage

log = logging.getLogger(__name__)
MAX_BAD_IN_A_ROW = 100


class StreamChanged(RuntimeError):
    """A saved position belongs to another order than the one this stream has."""


class StreamBroken(RuntimeError):
    """So many samples in a row cannot be read that it is not the samples."""


class Samples(TorchDataset[TrainBatch]):
    """Batches of one, by their position in the global order. What a worker process is given."""

    def __init__(
        self,
        datasets: Sequence[Dataset],
        order: GlobalOrder,
        settings: StreamSettings,
        latents: Sequence[Latents] | None = None,
    ) -> None:
        """latents: of each dataset, or None to decode the frames."""
        self.datasets, self.order, self.settings = tuple(datasets), order, settings
        self.latents = None if latents is None else tuple(latents)

    def key(self, position: int) -> str:
        """The key of the sample that stands at a position."""
        return self._key(self.order.at(position))

    def _key(self, place: Place) -> str:
        index, number = self.datasets[place.dataset].find(place.shard, place.ordinal)
        return index.keys[number]

    def __getitem__(self, position: int) -> TrainBatch:
        """The sample at a position; where it cannot be read, the next of its epoch that can, which is always the same
        one.

        Raises `StreamBroken` after `MAX_BAD_IN_A_ROW` samples, `StorageError` where storage does not answer.
        """
        place = self.order.at(position)
        reasons: list[str] = []
        for step in range(min(MAX_BAD_IN_A_ROW, self.order.epochs[place.dataset].total)):
            taken = self.order.after(place, step)
            try:
                batch = self._read(taken, position)
            except BadSample as error:
                reasons.append(str(error))
                continue
            if not reasons:
                return batch
            name = self.datasets[place.dataset].storage.place
            replaced = Replaced(self._key(place), batch.keys[0], "; ".join(reasons), name)
            return TrainBatch(**{**vars(batch), "replaced": (replaced,)})
        raise StreamBroken(f"{len(reasons)} samples in a row cannot be read, from {self._key(place)} on: {reasons[0]}")

    def __getitems__(self, positions: Sequence[int]) -> TrainBatch:
        return collate([self[position] for position in positions])

    def _read(self, place: Place, position: int) -> TrainBatch:
        dataset = self.datasets[place.dataset]
        index, number = dataset.find(place.shard, place.ordinal)
        key = index.keys[number]

        def cached(choice: ClipChoice) -> SampleLatents:
            assert self.latents is not None, "only asked for when there are latents"
            return self.latents[place.dataset].read(index.shard, key, choice.frames, choice.reference)

        return decode_clip(
            key,
            dataset.members(index, number, MEMBERS),
            index.frames[number],
            Fraction(*index.fps[number]),
            self.settings.clip,
            sample_rng(self.settings.seed, position, "clip"),
            position,
            cached if self.latents is not None else None,
        )


class _Positions(Sampler[list[int]]):
    """The positions of a rank's batches, without end."""

    def __init__(self, start: int, rank: int, world: int, batch_size: int) -> None:
        self.of = (rank, world, batch_size)
        self.start = start

    def __iter__(self) -> Iterator[list[int]]:
        step = 0
        while True:
            yield list(rank_positions(self.start, step, *self.of))
            step += 1


class Stream:
    """Iterate to get `TrainBatch`es without end. `state()` is where the next batch begins, and is equal on all ranks.

    Rank r of W reads, of each global batch of B * W positions, the r-th, (W + r)-th, ...: the sequence of samples
    over all ranks depends neither on W nor on the number of workers. Raises what `open_dataset` raises;
    `StreamChanged` by `check`.
    """

    def __init__(
        self,
        settings: StreamSettings,
        rank: int = 0,
        world: int = 1,
        batch_size: int = 1,
        start: int = 0,
        encoders: str = "",
    ) -> None:
        """start: the `position` of a saved state; 0 is the beginning. batch_size: of each rank.

        encoders: `pipelines.latents_format.encoders_digest` of the run's frozen encoders: latents that were cached with
        the same ones are used, see `latents_used` and `latents_reason`.
        """
        if not 0 <= rank < world or batch_size < 1 or start < 0:
            raise ValueError(f"rank {rank} of {world}, batch size {batch_size}, start {start}: there is no such stream")
        if not settings.data:
            raise BadDataset("no dataset was given: name at least one output folder of `vividpose shards`")
        self.settings, self.rank, self.world, self.batch_size = settings, rank, world, batch_size
        self.position = start
        datasets = [open_dataset(one.data, settings) for one in settings.data]
        if len({dataset.name for dataset in datasets}) != len(datasets):
            raise BadDataset("a dataset was given twice; give it once, with the sum of the weights")
        weights = _weights(settings, datasets)
        self.hash = digest([ORDER_VERSION, settings.window, [[d.hash, w] for d, w in zip(datasets, weights)]])
        epochs = [EpochOrder(d.counts, settings.seed, d.hash, settings.window) for d in datasets]
        choice = MixtureChoice(weights, settings.seed, self.hash)
        latents, self.latents_reason = _latents(settings, datasets, encoders)
        self.latents_used = latents is not None
        self.samples = Samples(datasets, GlobalOrder(epochs, choice), settings, latents)
        for dataset in datasets:
            log.info("%s: %s", dataset.storage.place, dataset.census)
        log.info("cached latents are %s: %s", "used" if self.latents_used else "not used", self.latents_reason)

    def __iter__(self) -> Iterator[TrainBatch]:
        for batch in self._loader():
            self.position += self.batch_size * self.world
            yield batch

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: after the last batch that was handed out, whatever workers have read ahead."""
        return {"dataset_hash": self.hash, "seed": self.settings.seed, "position": self.position}

    def check(self, state: dict[str, Any]) -> None:
        """Raise `StreamChanged` unless `state` is a position in this stream's order."""
        now = self.state()
        told = {
            "dataset_hash": "the data, the decisions on it, the weights, the window or the length of the clips changed",
            "seed": "the seed changed",
        }
        for name, why in told.items():
            if state.get(name) != now[name]:
                raise StreamChanged(
                    f"the saved position does not belong to this stream: {name} was {state.get(name)}, is "
                    f"{now[name]} ({why}). Go back to what it was, go on in the new order with "
                    "--accept-dataset-change, or start a new run from the saved weights."
                )

    def epochs(self) -> dict[str, float]:
        """Epochs read so far of each dataset, by its place."""
        order = self.samples.order
        read = order.choice.read(self.position)
        return {d.storage.place: n / e.total for d, n, e in zip(self.samples.datasets, read, order.epochs)}

    def _loader(self) -> DataLoader[TrainBatch]:
        settings = self.settings
        positions = _Positions(self.position, self.rank, self.world, self.batch_size)
        options: dict[str, Any] = {}
        if settings.workers:
            self._check_shared_memory()
            self._check_start_method()
            context = multiprocessing.get_context(settings.start_method)
            if settings.start_method == "forkserver":
                context.set_forkserver_preload([__name__])  # torch is then imported once, not by every worker
            options = {
                "num_workers": settings.workers,
                "prefetch_factor": settings.prefetch,
                "multiprocessing_context": context,
                "worker_init_fn": _begin_worker,
            }
        return DataLoader(
            self.samples,
            batch_sampler=positions,
            collate_fn=_as_it_is,
            pin_memory=settings.pin_memory,
            generator=torch.Generator(),  # or it would draw from, and move, the trainer's
            **options,
        )

    def _check_start_method(self) -> None:
        remote = [d.storage.place for d in self.samples.datasets if not isinstance(d.storage, LocalStorage)]
        if self.settings.start_method == "fork" and remote:
            raise BadDataset(f"{remote[0]} cannot be read by forked workers: set data.start_method to forkserver")

    def _check_shared_memory(self) -> None:
        # Docker gives 64 MB unless told otherwise, and a worker that runs out of it dies of a bus error.
        shared = Path("/dev/shm")
        width, height = self.settings.clip.size
        batch = self.batch_size * (3 * self.settings.clip.frames + 1) * 3 * width * height
        need = batch * self.settings.workers * (self.settings.prefetch + 1)
        if shared.is_dir() and shutil.disk_usage(shared).free < need:
            raise BadDataset(
                f"{self.settings.workers} loader workers need {need >> 20} MiB of shared memory, /dev/shm has "
                f"{shutil.disk_usage(shared).free >> 20} MiB free: enlarge it (docker run --shm-size or --ipc=host), "
                "or lower stream.workers or stream.prefetch"
            )


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _latents(settings: StreamSettings, datasets: Sequence[Dataset], encoders: str) -> tuple[list[Latents] | None, str]:
    """(the latents of every dataset, or None when any lacks them; which, or why not)."""
    if settings.latents == "never":
        return None, "the settings say never"
    found, told = zip(*(find_latents(dataset, settings.clip, encoders) for dataset in datasets))
    missing = [why for latents, why in zip(found, told) if latents is None]
    if not missing:
        return list(found), "; ".join(told)
    if settings.latents == "require":
        raise BadDataset(f"latents are required, but {missing[0]}")
    return None, missing[0]


def _weights(settings: StreamSettings, datasets: Sequence[Dataset]) -> list[float]:
    given = [one.weight for one in settings.data]
    if all(weight is None for weight in given):
        return [float(dataset.census.kept) for dataset in datasets]
    if any(weight is None or weight <= 0 for weight in given):
        raise BadDataset(f"give every dataset a weight above 0, or none of them one; got {given}")
    return [float(weight) for weight in given if weight is not None]
