"""The SMPL-X body: model file, fit, camera, rasteriser, shape swapping."""
