"""A rendered body whose joints are known: found, boxed, cropped, and every joint back within half a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.body.model import load_body
from pipelines.body.render import render_sequence
from pipelines.clip import Camera
from pipelines.stages.dwpose.estimator import DWPose
from pipelines.stages.dwpose.people_yolox import YoloxLook
from pipelines.stages.dwpose.yolox import Yolox
from pipelines.stages.people import PeopleConfig, PeopleFilter
from tests.body.body_motions import dance
from tests.stages.dwpose.conformance import COLOURS
from tests.stages.dwpose.drawing import disc

# Hips, knees, ankles, neck, head, shoulders, elbows, wrists, in SMPL-X's numbers.
JOINTS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)


def test_joints_of_a_rendered_body_come_back_within_half_a_pixel(nets: Path) -> None:
    body = load_body(None)
    camera = Camera(760.0, (240.0, 200.0), (480, 400))
    sequence = dance(body, 4, np.zeros(10, np.float32), 4.2, camera)
    joints = camera.project(body.joints(sequence)[:, list(JOINTS)])
    colours = COLOURS[np.linspace(0, 132, len(JOINTS)).astype(int)]
    frames = []
    for (shaded, _), places in zip(render_sequence(body, sequence), joints):
        frame = shaded.copy()
        for place, colour in zip(places, colours):
            disc(frame, place, 3.0, colour)
        frames.append(frame)
    film = np.stack(frames)

    config = PeopleConfig(samples_per_second=4)
    people = PeopleFilter(config, look=YoloxLook(Yolox(nets / "yolox_l.onnx", "cpu")))(film, fps=4)
    assert people.reason is None
    found = DWPose(nets / "pose_colour.onnx", "cpu")(film, people.boxes)

    numbers = np.linspace(0, 132, len(JOINTS)).astype(int)
    assert found.scores[:, numbers].min() > 0.3
    away = found.points[:, numbers] - joints
    assert np.abs(away).max() < 0.5
    assert np.abs(away.mean(axis=(0, 1))).max() < 0.1
