"""How fast a run is, against what its device can do."""

from __future__ import annotations

import torch

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "H800": 989.0, "A100": 312.0, "A800": 312.0, "L40S": 362.0, "4090": 165.0}
"""Dense bf16 matrix rate by NVIDIA's data sheets, by a part of the device's name; the SXM form where there are
several."""


def peak_tflops(device: torch.device, precision: str, given: float | None) -> float | None:
    """TFLOP/s of one rank's device: what the settings say, else the data sheet's for bf16, else None."""
    if given is not None:
        return given
    if device.type != "cuda" or precision != "bf16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for part, rate in PEAK_TFLOPS.items() if part in name), None)
