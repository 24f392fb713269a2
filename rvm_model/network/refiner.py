"""Refiners, which bring the matte from the internal size to full size, guided by the full-size source.

Around every pixel of the small image, both fit the matte as a line A * x + b of the source x. They resize A and b to
full size, and apply them to the full-size source. x is RGB and its mean, y the foreground residual and alpha: four
channels each.

Source: arXiv:1505.00996 (fast guided filter), arXiv:1803.05619 (deep guided filter).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DeepGuidedFilter(nn.Module):
    """A guided filter whose slope comes from a small trained network. Its box filter is trained too."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.box_filter = nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=4)
        nn.init.constant_(self.box_filter.weight, 1 / 9)
        self.conv = nn.Sequential(
            nn.Conv2d(4 + 4 + hidden, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 4, 1),
        )

    def forward(
        self, fine_src: Tensor, base_src: Tensor, base_fgr: Tensor, base_pha: Tensor, base_hid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine as `FastGuidedFilter.forward` does, with the same arguments."""
        A, b = self.fit(base_src, base_fgr, base_pha, base_hid)
        return apply_line(A, b, fine_src)

    def fit(self, base_src: Tensor, base_fgr: Tensor, base_pha: Tensor, base_hid: Tensor) -> tuple[Tensor, Tensor]:
        """Return A and b of the line, (N, 4, h, w) each."""
        x, y = with_mean(base_src), torch.cat([base_fgr, base_pha], dim=1)
        mean_x, mean_y = self.box_filter(x), self.box_filter(y)
        cov = self.box_filter(x * y) - mean_x * mean_y
        var = self.box_filter(x * x) - mean_x * mean_x
        A = self.conv(torch.cat([cov, var, base_hid], dim=1))
        return A, mean_y - A * mean_x


class FastGuidedFilter(nn.Module):
    """The closed form of the filter: slope = covariance / (variance + 1e-5). No parameters."""

    def forward(
        self,
        fine_src: Tensor,
        base_src: Tensor,
        base_fgr: Tensor,
        base_pha: Tensor,
        base_hid: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the full-size foreground residual (N, 3, H, W) and alpha (N, 1, H, W), neither clamped.

        Args:
            fine_src: (N, 3, H, W) RGB in [0, 1].
            base_src: The same at the internal size, (N, 3, h, w).
            base_fgr: Foreground residual, (N, 3, h, w).
            base_pha: Alpha, not clamped, (N, 1, h, w).
            base_hid: The decoder's hidden channels, (N, 16, h, w); only the deep guided filter uses them.
        """
        A, b = self.fit(base_src, base_fgr, base_pha, base_hid)
        return apply_line(A, b, fine_src)

    def fit(
        self,
        base_src: Tensor,
        base_fgr: Tensor,
        base_pha: Tensor,
        base_hid: Tensor,  # noqa: ARG002 (the two refiners are called alike)
    ) -> tuple[Tensor, Tensor]:
        """Return A and b of the line, (N, 4, h, w) each."""
        x, y = with_mean(base_src), torch.cat([base_fgr, base_pha], dim=1)
        mean_x, mean_y = box_mean(x), box_mean(y)
        cov = box_mean(x * y) - mean_x * mean_y
        var = box_mean(x * x) - mean_x * mean_x
        A = cov / (var + 1e-5)
        return A, mean_y - A * mean_x


def with_mean(src: Tensor) -> Tensor:
    """Append the mean of the channels as a fourth channel: (N, 3, h, w) to (N, 4, h, w)."""
    return torch.cat([src, src.mean(1, keepdim=True)], dim=1)


def box_mean(x: Tensor) -> Tensor:
    """Return the mean of every 3x3 neighbourhood of a four-channel image. Zeros outside the image count.

    It averages rows, then columns: the division by a small variance makes a one-pass mean differ by 3e-4 in alpha.
    """
    row = torch.full((4, 1, 1, 3), 1 / 3, dtype=x.dtype, device=x.device)
    x = F.conv2d(x, row, padding=(0, 1), groups=4)
    return F.conv2d(x, row.transpose(2, 3), padding=(1, 0), groups=4)


def apply_line(A: Tensor, b: Tensor, fine_src: Tensor) -> tuple[Tensor, Tensor]:
    """Resize A and b (N, 4, h, w), apply them to the source, return residual (N, 3, H, W) and alpha (N, 1, H, W)."""
    size = fine_src.shape[2:]
    A = F.interpolate(A, size, mode="bilinear", align_corners=False)
    b = F.interpolate(b, size, mode="bilinear", align_corners=False)
    out = A * with_mean(fine_src) + b
    return out[:, :3], out[:, 3:]
