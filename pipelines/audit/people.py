"""What a sample's key points, body and face say of its person. Nothing here looks at a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.annotate.quality import jitter
from pipelines.audit.sides import SEEN, swapped_share
from pipelines.clip import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Floats
from pipelines.shard_format import Face, Sample
from pipelines.stages.arcface.yaw import yaw

if TYPE_CHECKING:
    from pipelines.body.model import Body

VERSION = "1"
"""Changes when the same sample gives other values."""

# The lowest points that must be seen in half of the frames, from the widest shot to the closest.
SHOTS = (("full", (15, 16)), ("knees", (13, 14)), ("hips", (11, 12)), ("chest", (5, 6)))
# Turns of the body, degrees, up to which it is seen from the front, and from which on from the back.
FRONT, BACK = 45.0, 135.0


def measure_people(sample: Sample, body: Body | None) -> dict[str, Any]:
    """A row of `schema.PEOPLE` without `corrupt`. body: the sample's body file, None where it is not here."""
    keypoints = sample.keypoints
    points, scores = keypoints.points.astype(np.float32), keypoints.scores.astype(np.float32)
    boxes = keypoints.boxes[np.isfinite(keypoints.boxes).all(1)]
    height = float(np.median(np.maximum(boxes[:, 3] - boxes[:, 1], 1.0))) if len(boxes) else float("nan")
    seen = scores > SEEN
    projected = project_body(sample, body) if body is not None else None
    row: dict[str, Any] = {
        **_provenance(sample.meta),
        "person_height": height / sample.meta["size"][1],
        "shot_size": shot_size(scores),
        "body_seen": seen[:, BODY].mean(),
        "left_hand_seen": seen[:, LEFT_HAND].mean(),
        "right_hand_seen": seen[:, RIGHT_HAND].mean(),
        "feet_seen": seen[:, FEET].mean(),
        "joints_seen": seen[:, BODY].mean(0).tolist(),
        "jitter": jitter(points[:, BODY], scores[:, BODY], height),
        "swapped": swapped_share(points, scores, projected, height),
        "motion": _motion(points[:, BODY], seen[:, BODY], float(sample.fps)) / height,
        **_face(points, seen),
        **_identity(sample.face),
        **_body(sample, body, projected, height),
    }
    return {name: _plain(value) for name, value in row.items()}


def project_body(sample: Sample, body: Body) -> Floats | None:
    """(T, 17, 2) the body points of the fitted body in pixels, NaN in frames without a body; None for another file."""
    from pipelines.body.kinematics import WHOLEBODY

    if sample.body.body_hash != body.hash or not sample.body.valid.any():
        return None
    joints = body.joints(sample.body)[:, WHOLEBODY[BODY]]
    before = (joints[..., 2] > 0.05) & sample.body.valid[:, None]
    pixels = sample.body.camera.project(np.where(before[..., None], joints, 1.0).astype(np.float32))
    return np.where(before[..., None], pixels, np.nan).astype(np.float32)


def shot_size(scores: Floats) -> str:
    """The widest shot whose lowest points are seen in half of the frames; scores (T, 133)."""
    for name, lowest in SHOTS:
        if np.median(scores[:, lowest].max(1)) > SEEN:
            return name
    return "face"


def view_angles(global_orient: Floats) -> Floats:
    """(T,) degrees by which a body (T, 3), axis-angle, camera frame, is turned: 0 faces the camera, 90 to its left."""
    from scipy.spatial.transform import Rotation

    forward = Rotation.from_rotvec(global_orient).apply([0.0, 0.0, 1.0])
    return np.degrees(np.arctan2(forward[:, 0], -forward[:, 2])).astype(np.float32)


def _provenance(meta: dict[str, Any]) -> dict[str, Any]:
    said = meta["source"]["provenance"]
    read_from = said.get("read_from")
    where = read_from.get("licence") if isinstance(read_from, dict) else None
    consent = said.get("consent", "unknown")
    return {"licence_from": where if isinstance(where, str) else None, "consent": str(consent)[:500]}


def _motion(points: Floats, seen: np.ndarray, fps: float) -> float:
    """Mean speed of seen points (T, J, 2), pixels a second."""
    both = seen[1:] & seen[:-1]
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    return float(speed[both].mean() * fps) if both.any() else float("nan")


def _face(points: Floats, seen: np.ndarray) -> dict[str, Any]:
    told = seen[:, FACE].mean(1) > 0.5
    row: dict[str, Any] = {"face_seen": told.mean(), "face_size": None, "face_yaw": None}
    if told.any():
        row["face_size"] = np.median(np.sqrt(np.ptp(points[told, FACE], axis=1).prod(-1)))
    eyes = seen[:, :3].all(1)
    if eyes.any():
        # Nose, left eye, right eye of the 17; the yaw wants the eye on the picture's left first.
        row["face_yaw"] = np.median(np.abs(yaw(points[eyes][:, [2, 1, 0]])))
    return row


def _identity(face: Face) -> dict[str, Any]:
    row: dict[str, Any] = {"face_model": face.model[:100], "identity_spread": None}
    if face.valid.any():
        vectors = face.embeddings[face.valid].astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        row["identity_spread"] = 1 - np.linalg.norm(vectors.mean(0))
    return row


def _body(sample: Sample, body: Body | None, projected: Floats | None, height: float) -> dict[str, Any]:
    sequence = sample.body
    row: dict[str, Any] = {"body_valid": sequence.valid.mean(), "betas": sequence.betas.tolist()}
    if sequence.valid.any():
        radians = np.radians(view_angles(sequence.global_orient[sequence.valid]))
        mean = np.exp(1j * radians).mean()
        angle = float(np.degrees(np.angle(mean)))
        side = "left" if angle > 0 else "right"
        row["view_angle"] = angle
        row["view"] = "front" if abs(angle) < FRONT else "back" if abs(angle) >= BACK else side
        row["turn"] = np.degrees(np.sqrt(-2 * np.log(np.clip(abs(mean), 1e-6, 1.0))))
    if projected is None or body is None:
        return row
    seen = sample.keypoints.scores[:, BODY] > SEEN
    there = np.isfinite(projected).all(-1)
    error = np.linalg.norm(projected - sample.keypoints.points[:, BODY], axis=-1)[seen & there]
    inside = there & (projected >= 0).all(-1) & (projected <= np.asarray(sequence.camera.size)).all(-1)
    row["reprojection"] = np.median(error) / height if len(error) else None
    row["occlusion"] = (inside & ~seen).sum() / max(int(inside.sum()), 1)
    row["stature"] = np.ptp(body.shaped(sequence.betas)[:, 1])
    return row


def _plain(value: Any) -> Any:
    """Numbers that Parquet and JSON hold; what is not finite was not measured."""
    if isinstance(value, (np.generic, float)):
        value = float(value)
        return value if np.isfinite(value) else None
    return value
