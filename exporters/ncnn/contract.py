"""The names by which apps call an ncnn model: ours, and those of two published Android apps, read in their source."""

from dataclasses import dataclass

from exporters.artifact import INPUTS, OUTPUTS
from exporters.spec import Fixed
from rvm_model.state import float32_size, internal_size


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The blobs of a model.

    Attributes:
        src: The source.
        states: The states before the frame.
        outputs: Foreground, alpha, and the states after it, by which the model is judged.
        small: The source at the internal size, a second input; empty if there is none.
        reads_small: Whether the graph reads it. Else it reduces the source itself.
        others: Outputs that only the app reads.
        sizes: The only sizes of the app; none if it takes any.
    """

    src: str
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    small: str = ""
    reads_small: bool = False
    others: tuple[str, ...] = ()
    sizes: tuple[Fixed, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return all inputs, the second source last."""
        return (self.src, *self.states, *([self.small] if self.small else []))

    def inside(self, height: int, width: int, ratio: float) -> tuple[int, int]:
        """Return the internal height and width: the caller's, or those that ncnn's own reduction gives."""
        return internal_size(height, width, ratio) if self.reads_small else float32_size(height, width, ratio)


CONTRACTS = {
    "": Contract(src=INPUTS[0], states=INPUTS[1:5], outputs=OUTPUTS),
    # nihui/ncnn-android-rvm, app/src/main/jni/rvm.cpp: out0 and out1 are the matte at the internal size, out4 and out5
    # that of the fast guided filter, out6 the segmentation.
    "nihui": Contract(
        src="in0",
        states=("in2", "in3", "in4", "in5"),
        outputs=("out2", "out3", "out7", "out8", "out9", "out10"),
        small="in1",
        reads_small=True,
        others=("out0", "out1", "out4", "out5", "out6"),
    ),
    # FeiGeChuanShu/ncnn_Android_RobustVideoMatting, app/src/main/jni/nanodet.cpp: src1 is reduced and normalised. Here
    # the graph reduces src2 itself, as theirs does for the decoder.
    "feige": Contract(
        src="src2",
        states=INPUTS[1:5],
        outputs=OUTPUTS,
        small="src1",
        sizes=(Fixed(width=512, height=512, ratio=0.5), Fixed(width=480, height=640, ratio=0.5)),
    ),
}
"""By the value of `--contract`."""
