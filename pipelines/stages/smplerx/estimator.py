"""SMPLer-X over a clip: frames and the person's boxes in, a body sequence under one camera out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipelines.body.camera import from_smplerx
from pipelines.body.model import Body
from pipelines.clip import BodySequence, Floats
from pipelines.stages.blazepose.chunks import FrameChunks, each_frame

from .checkpoint import load_network
from .crop import Crop, crop_of
from .gaps import filled, filled_rotations
from .network import FOCAL, INPUT_WIDTH, Estimate

# Bump when the output changes.
VERSION = "1"
# SMPLer-X's shape vectors are those of the licensed SMPL-X, which has this many vertices.
SMPLX_VERTICES = 10475
PELVIS, HEAD, ANKLES = 0, 15, (7, 8)
ROTATIONS = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")


class NobodyThere(ValueError):
    """No frame of a clip has a box with a part inside of the picture. `reason` is the key for the ledger."""

    reason = "no_person"


class SmplerX:
    """A SMPLer-X checkpoint, ready to run.

    checkpoint: smpler_x_{s,b,l,h}32.pth.tar. body: the licensed SMPL-X file, to which the shape vectors belong.
    device: of torch. dtype: torch.float32, or torch.bfloat16 for the encoder and the heavy convolutions (half the
    memory and faster on a GPU; positions and rotations stay in float32). batch: crops at once. compiled: use
    `torch.compile`; the first batch then takes minutes. size: "s", "b", "l", "h"; see `load_network`.

    Raises WeightsError for the checkpoint, ValueError for a body of another shape space.
    """

    def __init__(
        self,
        checkpoint: Path,
        body: Body,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        batch: int = 16,
        compiled: bool = False,
        size: str | None = None,
    ) -> None:
        if body.vertex_count != SMPLX_VERTICES:
            raise ValueError(
                f"SMPLer-X's shape vectors belong to the licensed SMPL-X body ({SMPLX_VERTICES} vertices), and "
                f"{body.path} has {body.vertex_count}; give your SMPLX_NEUTRAL.npz"
            )
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self.body = body
        self.device = torch.device(device)
        self.batch = batch
        self.network, self.size = load_network(Path(checkpoint), size)
        self.network.heavy_in(dtype).to(self.device)
        self.compiled = compiled
        self.run = torch.compile(self.network) if compiled else self.network
        self.estimator = f"smpler-x-{self.size.name}32/{VERSION}"

    def __call__(
        self, frames: FrameChunks, boxes: Floats, size: tuple[int, int], focal: float | None = None
    ) -> BodySequence:
        """frames: uint8 (T, H, W, 3) RGB, or an iterable of chunks of them, read once. boxes: float (T, 4), x0 y0 x1 y1
        pixels, the main person, NaN where nobody is. size: (width, height) of the frames. focal: pixels, of the clip's
        camera; by default what the network itself assumes (the median of the frames), about 5000 for a person who is
        200 pixels wide.

        Only the network's own focal length brings every joint back to its pixel. With that of a real camera the body
        comes ten times nearer, and a hand that is held out moves by a tenth of its distance from the pelvis. To refine
        the sequence on key points afterwards (`fit_sequence`), give a real camera's (`assumed_camera(size).focal`): the
        fit then repairs that, and from afar it cannot tell depth.

        The shape is the median of the frames' shapes. Frames without a person are filled from their neighbours and not
        `valid`. Raises NobodyThere where no frame has a person, ValueError for frames of another number or size.
        """
        boxes = np.asarray(boxes, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes: expected (T, 4), got {boxes.shape}")
        crops = [crop_of(box, size) for box in boxes]
        if not any(crops):
            raise NobodyThere(f"none of the {len(boxes)} frames has a box inside of the {size[0]}x{size[1]} picture")
        estimates: list[Estimate] = []
        waiting: list[Floats] = []
        seen = 0
        for frame in each_frame(frames):
            if (frame.shape[1], frame.shape[0]) != tuple(size):
                raise ValueError(f"frame {seen} is {frame.shape[1]}x{frame.shape[0]}, expected {size[0]}x{size[1]}")
            if seen == len(boxes):
                raise ValueError(f"more frames than the {len(boxes)} boxes")
            crop = crops[seen]
            seen += 1
            if crop is not None:
                waiting.append(crop.cut(frame))
            if len(waiting) == self.batch:
                estimates.append(self.estimate(np.stack(waiting)))
                waiting = []
        if seen != len(boxes):
            raise ValueError(f"{seen} frames but {len(boxes)} boxes")
        if waiting:
            estimates.append(self.estimate(np.stack(waiting)))
        return self._sequence(estimates, crops, size, focal)

    @torch.inference_mode()
    def estimate(self, images: Floats) -> Estimate:
        """What the network says of crops (n, 256, 192, 3) in 0 to 1. Does not wait for the device."""
        count = len(images)
        if self.compiled and count < self.batch:
            # Another shape would be compiled anew.
            images = np.concatenate([images, np.zeros((self.batch - count, *images.shape[1:]), np.float32)])
        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        estimate: Estimate = self.run(batch.to(self.device, non_blocking=True))
        return Estimate(*(getattr(estimate, field.name)[:count] for field in fields(Estimate)))

    def _sequence(
        self, estimates: list[Estimate], crops: list[Crop | None], size: tuple[int, int], focal: float | None
    ) -> BodySequence:
        found = {
            field.name: torch.cat([getattr(estimate, field.name) for estimate in estimates]).double().cpu().numpy()
            for field in fields(Estimate)
        }
        seen = np.array([index for index, crop in enumerate(crops) if crop is not None])
        for name, values in found.items():
            finite = np.isfinite(values).reshape(len(seen), -1).all(axis=1)
            if not finite.all():
                raise ArithmeticError(f"SMPLer-X gave {name} that is not finite in frame {seen[np.argmin(finite)]}")
        betas = np.median(found["betas"], axis=0).astype(np.float32)
        cam_trans, pelvis = self._under_one_shape(found["cam_trans"], found["betas"], betas)
        count = len(crops)
        orient = Rotation.from_matrix(found["global_orient"]).as_rotvec()
        cropped = np.stack([crop.box for crop in crops if crop is not None])
        if focal is None:
            focal = float(np.median(cropped[:, 2])) * FOCAL / INPUT_WIDTH
        placed = from_smplerx(cam_trans, cropped, orient, pelvis, size, focal)
        found["global_orient"] = Rotation.from_rotvec(placed.global_orient).as_matrix()
        turned = {
            name: filled_rotations(found[name].reshape(len(seen), -1, 3, 3), seen, count) for name in ROTATIONS
        }
        valid = np.zeros(count, bool)
        valid[seen] = True
        return BodySequence(
            betas=betas,
            expression=filled(found["expression"], seen, count),
            global_orient=turned["global_orient"][:, 0],
            body_pose=turned["body_pose"],
            left_hand_pose=turned["left_hand_pose"],
            right_hand_pose=turned["right_hand_pose"],
            jaw_pose=turned["jaw_pose"][:, 0],
            transl=filled(placed.transl, seen, count),
            camera=placed.camera,
            flat_hand_mean=False,
            body_hash=self.body.hash,
            valid=valid,
        )

    def _under_one_shape(
        self, cam_trans: NDArray[np.float64], each: NDArray[np.float64], betas: Floats
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Translations (n, 3) for a body of shape `betas` instead of each frame's own, and that body's pelvis (3,).

        The pelvis keeps its pixel and the body its height in the picture: a body thought to be larger is farther away.
        """
        own = np.stack([self.body.rest_joints(row.astype(np.float32)) for row in each]).astype(np.float64)
        joints = self.body.rest_joints(betas).astype(np.float64)
        larger = _stature(joints) / _stature(own)
        return (cam_trans + own[:, PELVIS]) * larger[:, None] - joints[PELVIS], joints[PELVIS]


def _stature(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the head joint over the ankles at rest, metres; joints (..., 55, 3)."""
    return joints[..., HEAD, 1] - joints[..., ANKLES, 1].mean(axis=-1)
