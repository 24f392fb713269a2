"""The classes that describe a file as plain data: its options, its sum, its tensors, and its parity with PyTorch."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A model that refuses unknown keys, numbers in quotes, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OutputErrors(Strict):
    """Absolute error of one output over the clip against float64 PyTorch, and its limits.

    `high` is the 99.9 % quantile; `yardsticks` how many times PyTorch's own rounding the worst of the three is.
    """

    max_abs: float
    mean_abs: float
    high_abs: float
    limit_max_abs: float
    limit_mean_abs: float
    limit_high_abs: float
    yardsticks: float


class Alpha(Strict):
    """Error of the alpha against PyTorch's, in [0, 1] units."""

    mad: float
    mse: float
    dtssd: float


class MatteErrors(Strict):
    """Error of an alpha against the clip's true one, in [0, 1] units; `grad` and `conn` are sums over a frame."""

    mad: float
    mse: float
    grad: float
    conn: float
    dtssd: float


class Truth(Strict):
    """Errors of PyTorch's and of the file's mattes against the truth."""

    pytorch: MatteErrors
    file: MatteErrors


class Parity(Strict):
    """One comparison of the file with PyTorch; `function` is empty if the file holds the network once."""

    function: str
    runtime: str
    clip: str
    frames: Count
    width: Count
    height: Count
    downsample_ratio: float
    outputs: dict[str, OutputErrors]
    alpha: Alpha
    truth: Truth | None


class Tensor(Strict):
    """An input or output; an axis is a length, or a name if any length is allowed."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class DescribedFile(Strict):
    """A file that was made. `tools` are the programs and packages that made and judged it, with their versions."""

    file: str
    bytes: Count
    sha256: Sha256
    format: str
    spec: dict[str, JsonValue]
    checkpoint_sha256: Sha256
    weights_sha256: Sha256
    licence: str
    tools: dict[str, str]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parity: tuple[Parity, ...]
