"""The two steps around a network that runs at the internal size: reduce the source, and bring the line to full size.

The refiners fit the matte as a line A * x + b of the source. A file of coefficients ends at A and b, four channels each
at the internal size. What is left is a bilinear reduction before it, and after it this line at full size: texture
sampling and a multiply-add, which graphics hardware does at once. Here is the reference in PyTorch; `fused.py` is the
fast form for a CPU.
"""

from torch import Tensor
from torch.nn import functional as F

from rvm_model.network.refiner import apply_line


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
