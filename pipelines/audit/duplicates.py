"""Clips that show the same: candidates by locality-sensitive hashing, each then compared frame by frame.

Every description (`fingerprint`) is hashed by the signs of random projections, in `TABLES` tables. Two clips
that share a hash become a candidate pair; a hash that more than `CROWDED` clips share links each of them to the first
one only, so that the number of candidates stays linear in the number of clips. With n clips: n * TABLES * PROBED * 4
hashes, sorted table by table on disk if they do not fit (O(n log n)), and O(candidates) comparisons. Nothing is ever
compared n times n.

Two descriptions of cosine c share a bit with probability 1 - arccos(c) / pi. With 2 ln(n) bits unrelated pictures
(cosine up to 0.3) make O(n) candidates, while the 64 hashes of a clip (tables times probed moments) find a cosine of
0.91 with 0.99 among ten thousand clips and with 0.7 among a million; 0.95 with 0.97 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.audit.fingerprint import LENGTH, MIRROR, SAMPLES

TABLES, LEAST_BITS, MOST_BITS, CROWDED = 8, 14, 30, 50
# Every other moment is hashed; all are compared.
PROBED = np.arange(0, SAMPLES, 2)
# From this mean cosine along the best line of moments two clips are the same. Of many lines through parts of two clips
# one may fit by chance: the less of the clips a line covers, the better it must fit, by PARTIAL per whole.
NEAR, PARTIAL = 0.88, 0.16
LEAST_MOMENTS = 8
_AT_ONCE = 2000
Pairs = dict[str, NDArray[Any]]


@cache
def _planes() -> NDArray[np.float32]:
    return np.random.default_rng(20240229).standard_normal((LENGTH, TABLES * MOST_BITS)).astype(np.float32)


@cache
def _lines() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Straight lines through the moments of two clips: for every moment of a the one of b.

    Returns (L, SAMPLES) moments, (L, SAMPLES) 1 where inside b, (L,) slopes. The whole of a on the whole of b is first.
    """
    half = SAMPLES // 2
    starts, ends = np.meshgrid(np.arange(-half, half + 1), np.arange(half - 1, SAMPLES + half), indexing="ij")
    slope = (ends - starts).ravel() / (SAMPLES - 1)
    moments = np.rint(starts.ravel()[:, None] + slope[:, None] * np.arange(SAMPLES)).astype(np.int64)
    inside = (moments >= 0) & (moments < SAMPLES)
    usable = (inside.sum(1) >= LEAST_MOMENTS) & (slope > 0.3) & (slope < 3)
    first = np.argsort(np.abs(starts.ravel()) + np.abs(ends.ravel() - SAMPLES + 1), kind="stable")
    order = first[usable[first]]
    return np.clip(moments[order], 0, SAMPLES - 1), inside[order].astype(np.float32), slope[order]


@cache
def _along_lines() -> NDArray[np.float32]:
    """(SAMPLES * SAMPLES, L): which pairs of moments a line goes through. A product with it sums along all lines."""
    moments, inside, _ = _lines()
    through = np.zeros((SAMPLES, SAMPLES, len(moments)), np.float32)
    through[np.arange(SAMPLES), moments, np.arange(len(moments))[:, None]] = inside
    return through.reshape(SAMPLES * SAMPLES, -1)


def bits_for(clips: int) -> int:
    """How many bits a hash has among so many clips: more clips, fewer by chance in one bucket."""
    return int(np.clip(np.ceil(2 * np.log(max(clips, 1))), LEAST_BITS, MOST_BITS))


def hashes(codes: NDArray[np.int8], bits: int) -> NDArray[np.int64]:
    """(N, len(PROBED), TABLES) hashes of descriptions int8 (N, SAMPLES, LENGTH); -1 where there is no description."""
    probed = codes[:, PROBED].astype(np.float32)
    signs = (probed @ _planes() > 0).reshape(*probed.shape[:2], TABLES, MOST_BITS)[..., :bits]
    values = (signs * (1 << np.arange(bits))).sum(-1)
    there = np.asarray(probed.any(-1))
    return np.where(there[..., None], values, -1)


def compare(a: NDArray[np.int8], b: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarity (P,), -1..1, of pairs of clips and the line (P,) it was found on; a, b: int8 (P, SAMPLES, LENGTH)."""
    units = []
    for codes in (a, b):
        values = codes.astype(np.float32)
        length = np.linalg.norm(values, axis=-1, keepdims=True)
        units.append(np.divide(values, length, out=np.zeros_like(values), where=length > 0))
    cosines = units[0] @ units[1].transpose(0, 2, 1)
    there = (units[0].any(-1)[:, :, None] & units[1].any(-1)[:, None, :]).astype(np.float32)
    pairs = len(cosines)
    count = there.reshape(pairs, -1) @ _along_lines()
    # Where one has no description the cosine is 0.
    total = cosines.reshape(pairs, -1) @ _along_lines()
    mean = np.where(count >= LEAST_MOMENTS, total / np.maximum(count, 1), np.float32(-1))
    # Among lines that are as good, the earliest: whole on whole.
    best = np.argmax(mean > mean.max(-1, keepdims=True) - 0.01, axis=-1)
    return mean.max(-1), best


def find_near(connection: duckdb.DuckDBPyConnection, prints: str, near: float = NEAR) -> pa.Table:
    """Pairs of near-duplicates among the rows of the table or view `prints` (key, seconds, frame, person).

    Returns a table of a, b, similarity, overlap, mirrored, speed, with a before b in the order of keys.
    """
    connection.execute(
        f"create or replace table numbered as "
        f"select (row_number() over (order by key) - 1)::integer as id, key, seconds, frame, person from {prints}"
    )
    connection.execute("create or replace table bands (t utinyint, hash integer, id integer, mirrored boolean)")
    bits = bits_for(connection.execute("select count(*) from numbered").fetchall()[0][0])
    for ids, channels in _read(connection, "select id, frame, person from numbered order by id"):
        for channel, codes in enumerate(channels):
            for mirrored in (False, True):
                _insert(connection, ids, hashes(codes * MIRROR if mirrored else codes, bits), channel, mirrored)
    connection.execute("create or replace table candidates (a integer, b integer, mirrored boolean)")
    for number in range(2 * TABLES):
        connection.execute(_CANDIDATES, [number, number, CROWDED])
    connection.execute("drop table bands")
    return _verified(connection, near)


_CANDIDATES = """
    insert into candidates
    with plain as (select distinct hash, id from bands where t = ? and not mirrored),
         crowds as (select hash, count(*) as n, min(id) as first from plain group by hash),
         either as (select distinct hash, id, mirrored from bands where t = ?)
    select distinct least(plain.id, either.id), greatest(plain.id, either.id), either.mirrored
    from either join plain using (hash) join crowds using (hash)
    where plain.id <> either.id and (crowds.n <= ? or plain.id = crowds.first)
      and (either.mirrored or plain.id < either.id)
"""


def _codes(column: pa.ChunkedArray | pa.Array) -> NDArray[np.int8]:
    return np.frombuffer(b"".join(column.to_pylist()), np.int8).reshape(-1, SAMPLES, LENGTH)


def _read(
    connection: duckdb.DuckDBPyConnection, query: str
) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[np.int8], NDArray[np.int8]]]]:
    reader = connection.cursor().sql(query).to_arrow_reader(_AT_ONCE)
    for batch in reader:
        yield batch.column(0).to_numpy(), (_codes(batch.column(1)), _codes(batch.column(2)))


def _insert(
    connection: duckdb.DuckDBPyConnection, ids: NDArray[Any], values: NDArray[np.int64], channel: int, mirrored: bool
) -> None:
    table = np.broadcast_to(np.arange(TABLES) + channel * TABLES, values.shape)
    owner = np.broadcast_to(ids[:, None, None], values.shape)
    some = values >= 0
    batch = pa.table(
        {"t": table[some].astype(np.uint8), "hash": values[some].astype(np.int32), "id": owner[some].astype(np.int32)}
    )
    connection.register("batch", batch)
    connection.execute("insert into bands select distinct t, hash, id, ? from batch", [mirrored])
    connection.unregister("batch")


def _verified(connection: duckdb.DuckDBPyConnection, near: float) -> pa.Table:
    """Candidates that hold when compared, a few thousand at a time."""
    schema = pa.schema(
        [("a", pa.string()), ("b", pa.string()), ("similarity", pa.float32()), ("overlap", pa.float32()),
         ("mirrored", pa.bool_()), ("speed", pa.float32())]
    )  # fmt: skip
    reader = connection.cursor().sql(
        """select x.key as a, y.key as b, c.mirrored, x.frame as xf, x.person as xp, y.frame as yf, y.person as yp,
                  x.seconds as xs, y.seconds as ys
           from (select distinct a, b, mirrored from candidates) c
           join numbered x on x.id = c.a join numbered y on y.id = c.b"""
    ).to_arrow_reader(_AT_ONCE)  # fmt: skip
    found = []
    for batch in reader:
        mirrored = batch.column("mirrored").to_numpy(zero_copy_only=False)
        turn = np.where(mirrored[:, None, None], MIRROR, np.int8(1)).astype(np.int8)
        results = [compare(_codes(batch.column("x" + c)), _codes(batch.column("y" + c)) * turn) for c in "fp"]
        frame_wins = results[0][0] >= results[1][0]
        similarity = np.where(frame_wins, results[0][0], results[1][0])
        line = np.where(frame_wins, results[0][1], results[1][1])
        _, inside, slope = _lines()
        x_seconds, y_seconds = (batch.column(name).to_numpy() for name in ("xs", "ys"))
        speed = slope[line] * y_seconds / np.maximum(x_seconds, 1e-9)
        shared = inside[line].sum(-1) / SAMPLES * x_seconds
        overlap = np.minimum(1, shared / np.maximum(np.minimum(x_seconds, y_seconds), 1e-9))
        same = similarity >= near + PARTIAL * (1 - inside[line].mean(-1))
        found.append(
            pa.table(
                [batch.column("a"), batch.column("b"), similarity.astype(np.float32), overlap.astype(np.float32),
                 mirrored, speed.astype(np.float32)],
                schema=schema,
            ).filter(pa.array(same))
        )  # fmt: skip
    table = pa.concat_tables(found) if found else schema.empty_table()
    connection.register("found", table)
    # The plain and the mirrored reading of one pair: the better one.
    best = connection.sql(
        "select distinct on (a, b) * from found order by a, b, similarity desc, mirrored"
    ).to_arrow_table()
    connection.unregister("found")
    return best.cast(schema)
