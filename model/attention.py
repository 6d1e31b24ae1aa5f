"""The paper's attention (Eq. 1 to 4), over the projections of diffusers' `Attention` modules.

Every function calls `to_q`, `to_k`, `to_v` and `to_out` as modules (ZeRO-3 gathers a module's parameters when it is
called) and keeps nothing. B clips, T frames, S tokens of a
frame, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.conditions import KeyValue

# Which clips have a reference: all; bool (B,), looked at on the device; or known here, so that work can be left out.
ReferenceGiven = None | Tensor | tuple[bool, ...]

# CUDA's grids have at most this many rows; a temporal attention has a row per clip and position.
MOST_ROWS = 65535


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k' / sqrt(d)) v. q (N, L, C), k and v (N, M, C) -> (N, L, C)."""
    if q.shape[0] > MOST_ROWS:
        parts = zip(q.split(MOST_ROWS), k.split(MOST_ROWS), v.split(MOST_ROWS), strict=True)
        return torch.cat([attend(*part, heads) for part in parts])
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def output(attention: Any, x: Tensor) -> Tensor:
    linear, dropout = attention.to_out
    result: Tensor = dropout(linear(x))
    return result


def self_attention(
    attention: Any, x: Tensor, reference: KeyValue | None = None, given: ReferenceGiven = None
) -> Tensor:
    """Eq. 1: queries of `x`, keys and values [own, reference] along the tokens.

    x: (B * T, S, C), or (N, L, C) without a reference. reference: keys and values (B, S, C), projected by this same
    attention. A clip without a reference attends to itself alone.
    """
    q, k, v = attention.to_q(x), attention.to_k(x), attention.to_v(x)
    heads = attention.heads
    if reference is None:
        return output(attention, attend(q, k, v, heads))
    if given is None or isinstance(given, Tensor):
        k, v = _joined(k, reference[0], given), _joined(v, reference[1], given)
        return output(attention, attend(q, k, v, heads))
    clips = zip(given, *(y.chunk(len(given)) for y in (q, k, v, *reference)), strict=True)
    attended = [
        attend(q, _joined(k, reference_k), _joined(v, reference_v), heads) if has else attend(q, k, v, heads)
        for has, q, k, v, reference_k, reference_v in clips
    ]
    return output(attention, torch.cat(attended))


def _joined(own: Tensor, reference: Tensor, given: Tensor | None = None) -> Tensor:
    """[own, reference] along the tokens, (B * T, 2 S, C), from (B * T, S, C) and (B, S, C).

    Keys and values twice change no softmax, so where no reference is given a clip's own take its place: no mask, which
    would forbid the fast attention kernels, and gradients to the reference that are exactly zero.
    """
    own = own.unflatten(0, (reference.shape[0], -1))
    expanded = reference[:, None].expand(-1, own.shape[1], -1, -1)
    if given is not None:
        expanded = torch.where(given[:, None, None, None], expanded, own)
    return torch.cat([own, expanded], dim=2).flatten(0, 1)


def cross_attention(attention: Any, x: Tensor, context: Tensor, identity: KeyValue | None = None) -> Tensor:
    """Eq. 2 and 4: attention to the one CLIP token of the clip, plus attention to its identity tokens.

    Attention over a single token is that token's value, whatever the query: no softmax, and no use of `to_k`.

    x: (B, T, S, C); the order of T and S is free, since all tokens of a clip see the same. context: (B, 1, width).
    identity: keys and values (B, M, C) with values zero where there is no face. Returns a shape that broadcasts to x's.
    """
    value = attention.to_v(context)[:, None]
    if identity is None:
        return output(attention, value)
    clips, frames = x.shape[:2]
    k, v = (y[:, None].expand(-1, frames, -1, -1).flatten(0, 1) for y in identity)
    q = attention.to_q(x).flatten(0, 1)
    face = attend(q, k, v, attention.heads).unflatten(0, (clips, frames))
    return output(attention, value + face)
