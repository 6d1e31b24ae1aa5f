"""ArcFace identity vectors through insightface's model zoo (the optional extra `full`), from the user's files."""

from .estimator import ArcFace, FaceTrack, Identity, NoFaceThere, normalised, track_face, unit_length
from .zoo import LICENCE, Pack, find_pack

__all__ = [
    "LICENCE",
    "ArcFace",
    "FaceTrack",
    "Identity",
    "NoFaceThere",
    "Pack",
    "find_pack",
    "normalised",
    "track_face",
    "unit_length",
]
