"""The two steps around a network that runs at the internal size: reduce the source, and bring the line to full size.

The refiners fit the matte as a line A * x + b of the source. A file of coefficients ends at A and b, four channels each
at the internal size. What is left is a bilinear reduction before it, and after it this line at full size: texture
sampling and a multiply-add, which graphics hardware does at once. Here is the reference in PyTorch; `fused.py` is the
fast form for a CPU.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from rvm_model.network.matting_network import MattingNetwork
from rvm_model.network.refiner import DeepGuidedFilter, FastGuidedFilter, apply_line


def reduced(src: Tensor, downsample_ratio: float) -> Tensor:
    """Bring frames (B, 3, H, W) to the internal size, as the network does by itself; at ratio 1, return them."""
    if downsample_ratio == 1:
        return src
    return F.interpolate(
        src, scale_factor=downsample_ratio, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )


def finished(A: Tensor, b: Tensor, src: Tensor) -> tuple[Tensor, Tensor]:
    """Return foreground (B, 3, H, W) and alpha (B, 1, H, W) in [0, 1], not premultiplied.

    Args:
        A: The slope, (B, 4, h, w): red, green, blue and alpha, the foreground's "+ source" included.
        b: The offset, (B, 4, h, w).
        src: The full-size source, (B, 3, H, W), RGB in [0, 1], of the same dtype.
    """
    fgr, pha = apply_line(A, b, src)
    return fgr.clamp(0, 1), pha.clamp(0, 1)


def fitted(network: MattingNetwork, src: Tensor, states: Sequence[Tensor | None], refines: bool) -> list[Tensor]:
    """Run a network on T frames in order, without its full-size steps.

    Args:
        network: The network.
        src: Frames at the internal size, (T, 3, h, w), RGB in [0, 1].
        states: r1..r4 after the frame before, see `MattingNetwork.forward`.
        refines: False at a ratio of 1 where the network does not refine: the line is then the matte itself.

    Returns:
        A and b as `finished` takes them, (T, 4, h, w) each, and r1..r4.
    """
    f1, f2, f3, f4 = network.backbone(src)
    hid, *after = network.decoder(src, f1, f2, f3, network.aspp(f4), *states, len(src))
    mat = network.project_mat(hid)
    refiner = cast(DeepGuidedFilter | FastGuidedFilter, network.refiner)
    A, b = refiner.fit(src, mat[:, :3], mat[:, 3:], hid) if refines else (torch.zeros_like(mat), mat)
    return [A + mat.new_tensor([1, 1, 1, 0])[:, None, None], b, *after]
