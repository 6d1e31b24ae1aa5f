"""The known identity codes into shards that `vividpose shards` made of the films."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.audit.forget import update_dataset
from pipelines.audit.forget_shards import DamagedShard, facts_of, rewrite, write_index
from pipelines.audit.forget_work import commit_shard, records
from pipelines.engine.atomic import write_whole
from pipelines.engine.run_lock import only_run
from pipelines.engine.setup_error import SetupError
from pipelines.engine.storage import open_store
from pipelines.groundtruth.people import CODE_NAME, CODE_VERSION, code_hash
from pipelines.groundtruth.truth import read_identities, read_truth
from pipelines.shard_format import BadSample, Face, decode_face, encode_face, encode_meta

Code = NDArray[np.float32]


def write_identities(truth: Path, shards: Path) -> int:
    """Give every sample of the dataset `shards` the code of its person; returns how many samples have one now.

    truth: the folder of `make_groundtruth`. In the sample, `face.npz` then holds the code for every frame, also for
    those that do not show the face, and the json says so under `identity_source`. Shards, indexes, dataset.json and
    the records agree afterwards, and `vividpose shards` finds its work done. Killed in the middle, it is completed by
    running it again. Cached latents are of the shards as they were: make them afterwards.
    Raises SetupError where one of the two is missing or damaged and where a sample is none of the films.
    """
    codes = _codes(truth)
    path = shards / "dataset.json"
    if not path.is_file():
        raise SetupError(f"{shards} has no dataset.json: give the OUT of `vividpose shards`")
    with only_run(open_store(shards / "work")):
        listed = {row["name"]: row["sha256"] for row in json.loads(path.read_bytes())["shards"]}
        packs = [record for _, record in records(shards / "work", "pack")]
        facts = {}
        for name, before in listed.items():
            tar = shards / "shards" / name
            try:
                _check_keys(tar, codes, truth)
                rewrite(tar, replace=lambda member, data: _coded(member, data, codes))
                now = facts_of(tar)
            except (BadSample, DamagedShard, FileNotFoundError) as error:
                raise SetupError(f"{tar} cannot be read ({error}): run `vividpose shards` again") from error
            facts[name] = now
            write_index(tar, now)
            for record in packs:
                if record.label == name and record.outcome.info.get("sha256") == before:
                    commit_shard(shards / "work", record, record.inputs, now)
        update_dataset(shards, facts)
        dataset = json.loads(path.read_bytes())
        dataset["estimators"]["face"] = CODE_NAME
        write_whole(path, (json.dumps(dataset, indent=1) + "\n").encode())
    return sum(fact.samples for fact in facts.values())


def _codes(truth: Path) -> dict[str, Code]:
    """The code of each film, by the first 16 hex digits of its sha256: how the keys of its samples begin."""
    clips, identities = read_truth(truth)["clips"], read_identities(truth)
    return {clip["sha256"][:16]: identities[clip["person"]] for clip in clips}


def _check_keys(tar: Path, codes: Mapping[str, Code], truth: Path) -> None:
    strangers = [key for key in facts_of(tar).keys if key[:16] not in codes]
    if strangers:
        raise SetupError(
            f"{tar}: sample {strangers[0]} is of no film of {truth} ({len(strangers)} such samples); the films were "
            "made anew, or these shards are of other videos"
        )


def _coded(member: str, data: bytes, codes: Mapping[str, Code]) -> bytes | None:
    """`rewrite`'s replacement of a member; None keeps it."""
    key, _, name = member.partition(".")
    if name == "face.npz":
        count = len(decode_face(data, member).valid)
        rows = np.repeat(codes[key[:16]][None], count, axis=0).astype(np.float16)
        face = Face(rows, np.ones(count, bool), np.ones(count, np.float32), CODE_NAME, code_hash(), True)
        return encode_face(face)
    if name == "json":
        meta = json.loads(data)
        meta["identity_source"] = CODE_NAME
        meta["estimators"]["face"] = {"version": str(CODE_VERSION), "estimator": CODE_NAME}
        return encode_meta(meta)
    return None
