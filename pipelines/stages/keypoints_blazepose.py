"""133 key points of the main person with the `lite` nets: body, feet, face and hands, tracked from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from pipelines.clip import Floats, Keypoints
from pipelines.stages.blazepose import face as face_net
from pipelines.stages.blazepose import hand as hand_net
from pipelines.stages.blazepose import pose as pose_net
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame
from pipelines.stages.blazepose.coco_wholebody import assemble
from pipelines.stages.blazepose.face import Face
from pipelines.stages.blazepose.hand import Hand
from pipelines.stages.blazepose.nets import CPU, Net
from pipelines.stages.blazepose.pose import Pose
from pipelines.stages.blazepose.roi import Picture, Roi
from pipelines.stages.blazepose.ssd import FACE_STRIDES, POSE_STRIDES, Detector, overlap

# Bump when the output changes.
VERSION = "1"
ESTIMATOR = f"blazepose-wholebody/{VERSION}"

# A pose belongs to the main person when its bounds overlap the person's box at least this much (IoU).
SAME_PERSON = 0.3
# Below this visibility of the body's wrist no hand is looked for, as in MediaPipe.
WRIST_VISIBLE = 0.1
# Sizes of the generous crop to try: MediaPipe's, then a tighter one, which finds hands that the first one misses.
HAND_CROPS = (1.0, 0.65)
# How far, in sides of the generous crop around the body's hand (or face), a tracked crop may be from it.
DRIFT = 0.25


@dataclass
class _Tracked:
    """What the last frame knows: where the body, each hand and the face are to be looked for next."""

    pose: Pose | None = None
    hands: tuple[Hand | None, Hand | None] = (None, None)
    face: Face | None = None


class BlazePoseWholeBody:
    """MediaPipe's nets as a tracker of one person.

    A crop of the body comes from the last frame's landmarks, crops of hands and face from their own last landmarks
    moved along with the body's wrist or nose. The detectors and the hand's crop net run only when there is no last
    frame, when the landmark net says that nothing is in the crop, or when the body says that it is elsewhere. The
    graphs have a batch of one, so frames go through one at a time.

    There is no smoothing. What BlazePose does not have: the small toes, constructed from ankle, heel and toe with half
    of their score; and hidden joints, which are the net's guess with a low score.

    providers: ONNX Runtime execution providers. track: False detects everything anew in every frame (for comparisons).
    """

    def __init__(self, providers: Sequence[str] = CPU, *, track: bool = True) -> None:
        self.track = track
        self.detect_people = Detector(Net("pose_detection", providers), POSE_STRIDES, minimum_score=0.5)
        self.body = pose_net.PoseLandmarks(providers)
        self.hand_crop = hand_net.HandCrop(Net("hand_recrop", providers))
        self.hand = hand_net.HandLandmarks(Net("hand_landmark_full", providers))
        self.detect_faces = Detector(
            Net("face_detection_short_range", providers), FACE_STRIDES, minimum_score=face_net.DETECTED
        )
        self.mesh = face_net.FaceMesh(Net("face_landmark", providers))

    def __call__(self, frames: FrameChunks, boxes: Floats) -> Keypoints:
        """frames: uint8 (T, H, W, 3) RGB, or an iterable of chunks (n, H, W, 3) of one size in order; each chunk is
        read once and not kept. boxes: float (T, 4), x0 y0 x1 y1 pixels, the main person; NaN where there is nobody.

        Raises ValueError when there are not as many frames as boxes.
        """
        boxes = np.asarray(boxes, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes: expected (T, 4), got {boxes.shape}")
        count = len(boxes)
        points = np.zeros((count, 133, 2), np.float32)
        scores = np.zeros((count, 133), np.float32)
        world = np.full((count, 33, 3), np.nan, np.float32)
        last = _Tracked()
        seen = 0
        for index, frame in enumerate(each_frame(frames)):
            seen = index + 1
            if seen > count:
                raise ValueError(f"more frames than the {count} boxes")
            picture = Picture(frame)
            last = self._step(picture, boxes[index], last if self.track else _Tracked())
            if last.pose is not None:
                size = (picture.width, picture.height)
                points[index], scores[index] = assemble(last.pose, last.face, *last.hands, size)
                world[index] = last.pose.world
        if seen != count:
            raise ValueError(f"{seen} frames but {count} boxes")
        return Keypoints(points, scores, boxes, ESTIMATOR, world)

    def _step(self, picture: Picture, box: Floats, last: _Tracked) -> _Tracked:
        pose = self._find_body(picture, box, last.pose) if np.isfinite(box).all() else None
        if pose is None:
            return _Tracked()
        left = self._find_hand(picture, pose, last, 0)
        right = self._find_hand(picture, pose, last, 1)
        return _Tracked(pose, _not_the_same(left, right, pose), self._find_face(picture, pose, last))

    def _find_body(self, picture: Picture, box: Floats, last: Pose | None) -> Pose | None:
        if last is not None and last.next_roi.usable():
            pose = self.body(picture, last.next_roi)
            if pose.presence >= pose_net.PRESENT and _is_person(pose, box):
                return pose
        low, high = box[:2], box[2:]
        centre = (low + high) / 2
        around = Roi(float(centre[0]), float(centre[1]), 1.5 * float((high - low).max()))
        if not around.usable():
            return None
        crops = [pose_net.roi_of_detection(found) for found in self.detect_people(picture, around)]
        crops.sort(key=lambda roi: -_circle_overlap(roi, box))
        for roi in crops[:2]:
            if not roi.usable():
                continue
            pose = self.body(picture, roi)
            if pose.presence >= pose_net.PRESENT and _is_person(pose, box):
                return pose
        return None

    def _find_hand(self, picture: Picture, pose: Pose, last: _Tracked, side: int) -> Hand | None:
        wrist, pinky, index = (pose.points[joint + side] for joint in (15, 17, 19))
        if pose.visibility[15 + side] < WRIST_VISIBLE:
            return None
        generous = hand_net.roi_of_pose(wrist, pinky, index)
        if not generous.usable():
            return None
        before = last.hands[side]
        if before is not None and last.pose is not None:
            roi = _moved(hand_net.roi_of_hand(before.points), wrist - last.pose.points[15 + side])
            if roi.usable() and _near(roi, generous):
                hand = self.hand(picture, roi)
                if hand.presence >= hand_net.PRESENT:
                    return hand
        for scale in HAND_CROPS:
            roi = self.hand_crop(picture, generous.scaled(scale))
            if roi.usable():
                hand = self.hand(picture, roi)
                if hand.presence >= hand_net.PRESENT:
                    return hand
        return None

    def _find_face(self, picture: Picture, pose: Pose, last: _Tracked) -> Face | None:
        if last.face is not None and last.pose is not None:
            roi = _moved(face_net.roi_of_face(last.face.points), pose.points[0] - last.pose.points[0])
            if roi.usable() and _near(roi, face_net.roi_of_pose(pose.points)):
                face = self.mesh(picture, roi)
                if face.presence >= face_net.PRESENT:
                    return face
        found = face_net.find_face(self.detect_faces, picture, pose.points)
        if found is None or not found.usable():
            return None
        face = self.mesh(picture, found)
        return face if face.presence >= face_net.PRESENT else None


def _is_person(pose: Pose, box: Floats) -> bool:
    return float(overlap(box, pose.box()[None])[0]) >= SAME_PERSON


def _circle_overlap(roi: Roi, box: Floats) -> float:
    half = roi.size / pose_net.MARGIN / 2
    square = np.array([[roi.x - half, roi.y - half, roi.x + half, roi.y + half]], np.float32)
    return float(overlap(box, square)[0])


def _moved(roi: Roi, by: Floats) -> Roi:
    return Roi(roi.x + float(by[0]), roi.y + float(by[1]), roi.size, roi.angle)


def _near(roi: Roi, generous: Roi) -> bool:
    return hypot(roi.x - generous.x, roi.y - generous.y) <= DRIFT * generous.size


def _not_the_same(left: Hand | None, right: Hand | None, pose: Pose) -> tuple[Hand | None, Hand | None]:
    """Both crops can catch one hand when the hands meet. Then it belongs to the wrist that it is nearer to."""
    if left is None or right is None:
        return left, right
    size = float(np.ptp(left.points, axis=0).max() + np.ptp(right.points, axis=0).max()) / 2
    if float(np.linalg.norm(left.points - right.points, axis=1).mean()) > 0.3 * size:
        return left, right
    to_left = float(np.linalg.norm(left.points[0] - pose.points[15]))
    to_right = float(np.linalg.norm(right.points[0] - pose.points[16]))
    return (left, None) if to_left <= to_right else (None, right)
