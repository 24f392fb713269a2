"""The matting network: encoder, LR-ASPP, recurrent decoder, refiner.

Source: arXiv:2108.11515, figure 2.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from rvm_model.network import mobilenetv3, resnet50
from rvm_model.network.decoder import Projection, RecurrentDecoder
from rvm_model.network.lraspp import LRASPP
from rvm_model.network.refiner import DeepGuidedFilter, FastGuidedFilter
from rvm_model.state import REFINERS, VARIANTS

Refine = Literal["auto", "always", "never"]


class MattingNetwork(nn.Module):
    """Robust Video Matting: foreground and alpha of every frame of a clip, with four recurrent states.

    Args:
        variant: `mobilenetv3` or `resnet50`.
        refiner: `deep_guided_filter` or `fast_guided_filter`.
        refine: Behaviour at a downsample ratio of 1. `auto` skips the refiner there. `always` runs it, as the ONNX
            files with a runtime ratio do. `never` never runs it, and rejects other ratios. The attribute of the same
            name can be changed later.

    Raises:
        ValueError: an unknown variant, refiner or refine.
    """

    def __init__(
        self, variant: str = "mobilenetv3", refiner: str = "deep_guided_filter", refine: Refine = "auto"
    ) -> None:
        super().__init__()
        for what, given, known in (
            ("variant", variant, VARIANTS),
            ("refiner", refiner, REFINERS),
            ("refine", refine, ("auto", "always", "never")),
        ):
            if given not in known:
                raise ValueError(f"unknown {what} {given!r}; choose one of {', '.join(known)}")
        self.variant = variant
        self.refine: str = refine
        if variant == "mobilenetv3":
            self.backbone: nn.Module = mobilenetv3.MobileNetV3Encoder()
            f1, f2, f3, f4 = mobilenetv3.CHANNELS
            self.aspp = LRASPP(f4, 128)
            self.decoder = RecurrentDecoder((f1, f2, f3, 128), (80, 40, 32, 16))
        else:
            self.backbone = resnet50.ResNet50Encoder()
            f1, f2, f3, f4 = resnet50.CHANNELS
            self.aspp = LRASPP(f4, 256)
            self.decoder = RecurrentDecoder((f1, f2, f3, 256), (128, 64, 32, 16))
        self.project_mat = Projection(16, 4)
        self.project_seg = Projection(16, 1)
        self.refiner: nn.Module = DeepGuidedFilter() if refiner == "deep_guided_filter" else FastGuidedFilter()

    def forward(
        self,
        src: Tensor,
        r1: Tensor | None = None,
        r2: Tensor | None = None,
        r3: Tensor | None = None,
        r4: Tensor | None = None,
        downsample_ratio: float = 1,
        segmentation_pass: bool = False,
    ) -> list[Tensor]:
        """Matte one frame, or T frames in order.

        Args:
            src: (B, 3, H, W) or (B, T, 3, H, W), RGB in [0, 1], of the weights' dtype and device.
            r1: State after the frame before, (B, C_1, ceil(h / 2), ceil(w / 2)) for the internal size (h, w); None, or
                zeros that broadcast, at the start of a clip. C_k: `state.STATE_CHANNELS`.
            r2: The same, (B, C_2, ceil(h / 4), ceil(w / 4)).
            r3: The same, (B, C_3, ceil(h / 8), ceil(w / 8)).
            r4: The same, (B, C_4, ceil(h / 16), ceil(w / 16)).
            downsample_ratio: In (0, 1]. The network runs at the floor of H and W times this; the refiner brings its
                output to full size. At 1 nothing is resized, and the refiner runs only if `refine` is `always`.
            segmentation_pass: Return segmentation logits instead of a matte.

        Returns:
            `[fgr, pha, r1, r2, r3, r4]`: fgr (B, [T,] 3, H, W) and pha (B, [T,] 1, H, W) in [0, 1], not premultiplied.
            Or `[seg, r1, r2, r3, r4]`: seg (B, [T,] 1, h, w), at the internal size.

        Raises:
            ValueError: `src` is neither 4-D nor 5-D, or the ratio is outside (0, 1], or not 1 with `refine="never"`.
        """
        if src.dim() != 4 and src.dim() != 5:
            raise ValueError("src must be (B, 3, H, W) or (B, T, 3, H, W)")
        # Written so that NaN fails too.
        if not (downsample_ratio > 0 and downsample_ratio <= 1):
            raise ValueError("downsample_ratio must be in (0, 1]")
        if self.refine == "never" and downsample_ratio != 1:
            raise ValueError("refine='never' takes no downsample_ratio but 1")

        time = src.shape[1] if src.dim() == 5 else 1
        fine_src = src.flatten(0, 1) if src.dim() == 5 else src
        base_src = fine_src
        if downsample_ratio != 1:
            base_src = F.interpolate(
                fine_src,
                scale_factor=downsample_ratio,
                mode="bilinear",
                align_corners=False,
                recompute_scale_factor=False,
            )

        f1, f2, f3, f4 = self.backbone(base_src)
        f4 = self.aspp(f4)
        hid, r1, r2, r3, r4 = self.decoder(base_src, f1, f2, f3, f4, r1, r2, r3, r4, time)

        if segmentation_pass:
            outputs = [self.project_seg(hid)]
        else:
            mat = self.project_mat(hid)
            residual, pha = mat[:, :3], mat[:, 3:]
            if self.refine == "always" or downsample_ratio != 1:
                residual, pha = self.refiner(fine_src, base_src, residual, pha, hid)
            outputs = [(residual + fine_src).clamp(0, 1), pha.clamp(0, 1)]
        if src.dim() == 5:
            outputs = [output.unflatten(0, (-1, time)) for output in outputs]
        return outputs + [r1, r2, r3, r4]  # noqa: RUF005 (TorchScript knows no star)
