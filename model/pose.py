"""The pose controller: two light encoders, one for skeleton maps, one for SMPL-X renderings (Eq. 5)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import attend
from model.config import PoseConfig
from model.execution import Execution

PLAIN = Execution()


class SelfAttention(nn.Module):
    """x + attention over the positions of a picture. (N, C, h, w)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(32 if channels % 32 == 0 else 1, channels)
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, dim=-1)
        return x + self.to_out(attend(q, k, v, self.heads)).transpose(1, 2).unflatten(2, x.shape[2:])


class PoseEncoder(nn.Module):
    """Convolutions from pixels down to the latent's size, self-attention at half of it, and a zero convolution.

    Attention at half the latent's size sees all of the body at a sixteenth of the cost.
    """

    def __init__(self, config: PoseConfig, out_channels: int) -> None:
        super().__init__()
        widths = config.channels
        stem: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1), nn.SiLU()]
        for narrow, wide in pairwise(widths):
            stem += [nn.Conv2d(narrow, narrow, 3, padding=1), nn.SiLU()]
            stem += [nn.Conv2d(narrow, wide, 3, padding=1, stride=2), nn.SiLU()]
        self.stem = nn.Sequential(*stem)
        self.down = nn.Conv2d(widths[-1], widths[-1], 3, padding=1, stride=2)
        self.attention = nn.Sequential(
            *(SelfAttention(widths[-1], config.heads) for _ in range(config.attention_layers))
        )
        self.zero_out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        for layer in (*self.stem, self.down):
            if isinstance(layer, nn.Conv2d):
                # torch's own start shrinks a picture's variance at every layer, to a thousandth of it at the end.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.zero_out.weight)
        nn.init.zeros_(self.zero_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), 0..1 -> (N, C, H/8, W/8)."""
        local = self.stem(2 * x - 1)
        seen = F.interpolate(self.attention(F.silu(self.down(local))), size=local.shape[2:], mode="nearest")
        return self.zero_out(local + seen)


class PoseController(nn.Module):
    def __init__(self, config: PoseConfig, out_channels: int) -> None:
        super().__init__()
        self.skeleton = PoseEncoder(config, out_channels)
        self.rendering = PoseEncoder(config, out_channels)

    def forward(self, skeleton: Tensor, rendering: Tensor, run: Execution = PLAIN) -> Tensor:
        """skeleton, rendering: (B, T, 3, H, W), 0..1 -> (B, T, C, H/8, W/8), the sum of both."""
        clips = skeleton.shape[0]
        features = run.block(self.skeleton, skeleton.flatten(0, 1)) + run.block(self.rendering, rendering.flatten(0, 1))
        return features.unflatten(0, (clips, -1))
