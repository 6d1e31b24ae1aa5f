"""RoIAlign (He et al. 2017) as two matrix products.

Bilinear interpolation at a grid of sample points is separable, and so is the average over the samples of a bin. A box's
crop is therefore `rows @ map @ columns.T` with one small matrix for each axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Samples for each bin and axis at most, so that shapes do not depend on data. Boxes up to this many times larger than
# the output (512 cells, of maps 64 cells high) are sampled exactly as RoIAlign defines it, larger ones more coarsely.
MAX_SAMPLES = 32


def roi_align(features: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """The mean features in bins x bins equal parts of a box on each map.

    features: (N, C, H, W). boxes: (N, 4), x0 y0 x1 y1 in cells of the map (cell 0 is *at* 0); a box less than one cell
    wide or high counts as one cell. Returns (N, C, bins, bins). Samples more than a cell outside of the map are zero.

    Source: torchvision's and mmcv's `roi_align` with sampling_ratio=0, aligned=False, average.
    """
    if boxes.shape != (len(features), 4):
        raise ValueError(f"expected one box for each of {len(features)} maps, (N, 4), got {tuple(boxes.shape)}")
    rows = _axis_weights(boxes[:, 1], boxes[:, 3], features.shape[2], bins)
    columns = _axis_weights(boxes[:, 0], boxes[:, 2], features.shape[3], bins)
    narrowed = torch.einsum("nchw,nqw->nchq", features, columns)
    return torch.einsum("nph,nchq->ncpq", rows, narrowed)


def _axis_weights(start: Tensor, end: Tensor, cells: int, bins: int) -> Tensor:
    """(N, bins, cells): how much each cell of one axis counts in each bin of the boxes' extents (N,)."""
    start, end = start.float(), end.float()
    bin_size = (end - start).clamp(min=1) / bins
    counts = bin_size.ceil().clamp(1, MAX_SAMPLES)
    sample = torch.arange(MAX_SAMPLES, device=start.device)
    position = (sample + 0.5) / counts[:, None] * bin_size[:, None]
    first = start[:, None] + torch.arange(bins, device=start.device) * bin_size[:, None]
    at = first[:, :, None] + position[:, None]
    counted = (sample < counts[:, None])[:, None] & (at >= -1) & (at <= cells)
    at = at.clamp(0, cells - 1)
    cell = torch.arange(cells, device=start.device)
    # The weight of a cell falls linearly with its distance from the sample: bilinear interpolation.
    weights = (1 - (at[..., None] - cell).abs()).clamp(min=0) * counted[..., None]
    return weights.sum(dim=2) / counts[:, None, None]
