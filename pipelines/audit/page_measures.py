"""What the page tells of each measure: its name for people, its unit, and which end of it is the bad one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bad = Literal["high", "low", "none"]


@dataclass(frozen=True)
class Measure:
    """column: of clips.parquet. unit: shown after a value; "%" means that a share of 0 to 1 is shown in percent."""

    column: str
    title: str
    group: str
    unit: str = ""
    bad: Bad = "none"
    note: str = ""


MEASURES = (
    Measure("seconds", "Length", "Clip", "s"),
    Measure("fps", "Frame rate", "Clip", "fps"),
    Measure("height", "Picture height", "Clip", "px", "low"),
    Measure("person_height", "Height of the person in the picture", "Framing", "%", "low"),
    Measure("face_size", "Face size", "Framing", "px", "low"),
    Measure("face_yaw", "Face turned away", "Framing", "°", "high"),
    Measure("face_seen", "Frames with a face", "Framing", "%", "low"),
    Measure("people", "People in frame", "Framing", "", "high"),
    Measure("rival_area", "Largest other person", "Framing", "%", "high", "area, of the main person's"),
    Measure("alone", "Frames with one person", "Framing", "%", "low"),
    Measure("body_seen", "Body points seen", "Pose", "%", "low"),
    Measure("left_hand_seen", "Left hand seen", "Pose", "%", "low"),
    Measure("right_hand_seen", "Right hand seen", "Pose", "%", "low"),
    Measure("feet_seen", "Feet seen", "Pose", "%", "low"),
    Measure("jitter", "Jitter of the key points", "Pose", "", "high"),
    Measure("swapped", "Frames with left and right swapped", "Pose", "%", "high"),
    Measure("reprojection", "Re-projection error of the body", "Pose", "", "high", "of the person's height"),
    Measure("body_valid", "Frames with a fitted body", "Pose", "%", "low"),
    Measure("occlusion", "Occlusion", "Pose", "%", "high"),
    Measure("view_angle", "View angle", "Pose", "°", "none", "0 faces the camera"),
    Measure("turn", "Turns", "Pose", "°"),
    Measure("motion", "Motion", "Pose"),
    Measure("stature", "Stature of the body", "Pose", "m"),
    Measure("cut", "Strongest cut inside", "Picture", "", "high"),
    Measure("frozen", "Frozen frames", "Picture", "%", "high"),
    Measure("repeated", "Repeated frames", "Picture", "%", "high"),
    Measure("bars", "Black bars", "Picture", "%", "high"),
    Measure("overlay", "Subtitles and watermarks", "Picture", "%", "high"),
    Measure("blur", "Sharpness", "Picture", "", "low"),
    Measure("brightness", "Brightness", "Picture", "%"),
    Measure("too_dark", "Too dark", "Picture", "%", "high"),
    Measure("too_bright", "Too bright", "Picture", "%", "high"),
    Measure("blockiness", "Compression blocks", "Picture", "", "high"),
    Measure("bits_per_pixel", "Bits per pixel", "Picture", "", "low"),
    Measure("identity_spread", "Spread of the face vectors", "Identity", "", "high"),
    Measure("minor", "Possible minor", "Sensitive", "%", "high", "an estimate for review, never a fact"),
    Measure("nsfw", "Possibly not safe for work", "Sensitive", "%", "high", "an estimate for review, never a fact"),
)
GROUPS = tuple(dict.fromkeys(measure.group for measure in MEASURES))

OUTCOMES = ("kept", "review", "dropped", "quarantined", "failed")
SENSITIVE_COLUMNS = ("minor", "nsfw")

JOINTS = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip


def in_words(name: str) -> str:
    """A reason or flag as people write it."""
    return name.replace("_", " ")
