"""What says that a video is made by a model: tags in the file, and a manifest beside it in the words of C2PA.

The manifest is a description, not a signed C2PA manifest: it has no signature and is not embedded. A signing tool can
take it as its input. The words are those of C2PA 2.1 and of IPTC's digital source types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.engine.atomic import file_digest

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def software_version() -> str:
    """The installed version of this software."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vividpose")
    except PackageNotFoundError:
        return "unknown"


def container_tags(job: str, model_hash: str) -> dict[str, str]:
    """Tags of the mp4; equal jobs have equal tags."""
    return {
        "title": "AI-generated video",
        "comment": f"AI-generated: VividPose {software_version()}, model {model_hash}, job {job}",
        "description": f"AI-generated (digital source type {SOURCE_TYPE})",
    }


def manifest(
    video: Path, name: str, job: str, model: Mapping[str, str], inputs: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The claims about a video. inputs: title and sha256 by what they were for."""
    ingredients = [
        {
            "title": facts["title"],
            "relationship": "inputTo",
            "data": {"role": role},
            "hash": {"alg": "sha256", "value": facts["sha256"]},
        }
        for role, facts in inputs.items()
    ]
    return {
        "claim_generator_info": [{"name": "VividPose", "version": software_version()}],
        "title": name,
        "format": "video/mp4",
        "instance_id": f"xmp:iid:{job}",
        "ingredients": ingredients,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": SOURCE_TYPE,
                            "softwareAgent": {"name": "VividPose", "version": software_version()},
                            "parameters": {"model": dict(model)},
                        }
                    ]
                },
            },
            {"label": "c2pa.hash.data", "data": {"alg": "sha256", "hash": file_digest(video), "name": "whole file"}},
        ],
        "signature": None,
    }


def manifest_bytes(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
