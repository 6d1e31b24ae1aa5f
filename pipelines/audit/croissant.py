"""A dataset described in Croissant 1.0 (JSON-LD of MLCommons), so that catalogues and loaders understand it.

Files are named by their place below the output folder, with the sha256 that dataset.json states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.audit.schema import CLIPS, FOLDER
from pipelines.engine.atomic import file_digest
from pipelines.shard_format import MEMBERS

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Columns of clips.parquet that a catalogue should know, with what they mean.
FIELDS = (
    ("key", "sc:Text", "the sample's key in its shard"),
    ("shard", "sc:Text", "the shard that holds it"),
    ("outcome", "sc:Text", "kept, review, dropped, quarantined or failed"),
    ("decision", "sc:Text", "keep, review or drop: what a trainer obeys"),
    ("split", "sc:Text", "train, test or another part"),
    ("licence", "sc:Text", "licence of the source; unknown where nobody says"),
    ("platform", "sc:Text", "where the source was published"),
    ("frames", "sc:Integer", "number of frames"),
    ("seconds", "sc:Float", "length"),
    ("fps", "sc:Float", "frame rate"),
    ("width", "sc:Integer", "pixels"),
    ("height", "sc:Integer", "pixels"),
)
MEDIA = {"mp4": "video/mp4", "npz": "application/zip", "json": "application/json"}
SENSITIVE = (
    "Videos of people. Samples may hold face embeddings (face.npz), which are biometric data. People can be withdrawn "
    "with `vividpose forget`; tombstones.jsonl then keeps them out."
)


def croissant(
    out: Path, dataset: dict[str, Any], name: str, description: str, licences: list[str], url: str | None = None
) -> dict[str, Any]:
    """The JSON-LD of the dataset under `out`. dataset: its dataset.json. url: where it is published, if it is."""
    clips = out / FOLDER / CLIPS
    shards = dataset.get("shards", [])
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "license": licences or ["unknown"],
        "usageInfo": "Each clip has its own licence: column licence of audit/clips.parquet.",
        **({"url": url} if url else {}),
        "version": "1.0.0",
        "identifier": dataset.get("hash", ""),
        "rai:personalSensitiveInformation": SENSITIVE,
        "rai:dataCollection": "Where each clip is from is in the columns url, uploader, platform and date.",
        "rai:dataAnnotationProtocol": "Key points, bodies and scores are estimates of nets named in dataset.json.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "clips.parquet",
                "name": "clips.parquet",
                "description": "A row per clip, with every measure, mark and decision.",
                "contentUrl": f"{FOLDER}/{CLIPS}",
                "encodingFormat": "application/x-parquet",
                "sha256": file_digest(clips),
            },
            *({
                "@type": "cr:FileObject",
                "@id": row["name"],
                "name": row["name"],
                "description": f"{row['samples']} samples.",
                "contentUrl": f"shards/{row['name']}",
                "contentSize": f"{row['bytes']} B",
                "encodingFormat": "application/x-tar",
                "sha256": row["sha256"],
            } for row in shards),
            *_members([row["name"] for row in shards]),
        ],
        "recordSet": [_records(clips)],
    }  # fmt: skip


def _members(shards: list[str]) -> list[dict[str, Any]]:
    if not shards:
        return []
    return [
        {
            "@type": "cr:FileSet",
            "@id": member,
            "name": member,
            "description": f"The member {member} of every sample; docs/formats.md says what it holds.",
            "containedIn": [{"@id": shard} for shard in shards],
            "encodingFormat": MEDIA[member.rpartition(".")[2]],
            "includes": f"*.{member}",
        }
        for member in MEMBERS
    ]


def _records(clips: Path) -> dict[str, Any]:
    columns = set(pq.read_schema(clips).names)
    return {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "description": "The clips of the dataset.",
        "key": {"@id": "clips/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"clips/{name}",
                "name": name,
                "description": meaning,
                "dataType": kind,
                "source": {"fileObject": {"@id": "clips.parquet"}, "extract": {"column": name}},
            }
            for name, kind, meaning in FIELDS
            if name in columns
        ],
    }
