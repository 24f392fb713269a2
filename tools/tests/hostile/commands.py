"""The commands that open files of each kind."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.tests.hostile.home import Home

Words = list[object]
CLIP = "clip"
MODEL = "model.onnx"
FRAMES = 12


def _verifying(home: Home) -> Words:
    return ["--clip", home.good / CLIP, "--frames", FRAMES]


COMMANDS: Mapping[str, Callable[[Path, Home], Words]] = {
    # of a model
    "info": lambda file, _: ["info", file],
    "verify": lambda file, home: ["verify", file, *_verifying(home), "--checkpoint", "seeded"],
    "recover": lambda file, home: ["recover", file, "--output", home.outputs / "a_seeded.safetensors", "--no-verify"],
    "matte": lambda file, home: [
        *("matte", home.good / CLIP, "--model", file, "--max-frames", 2),
        *("--downsample-ratio", 0.5, "--alpha", home.outputs / "pha"),
    ],
    "compare": lambda file, home: [
        *("compare", file, "seeded", *_verifying(home), "--output", home.outputs / "a.png"),
    ],
    "doctor": lambda file, _: ["doctor", file, "--as", "official"],
    "bisect": lambda file, home: ["bisect", file, *_verifying(home), "--checkpoint", "seeded"],
    "demo": lambda file, home: ["demo", "--model", file, "--static", home.outputs / "page"],
    "export --checkpoint": lambda file, home: [
        *("onnx", "--checkpoint", file, "--output", home.outputs / "a_seeded.onnx", "--no-verify"),
    ],
    # of weights
    "verify --checkpoint": lambda file, home: [
        *("verify", home.good / MODEL, *_verifying(home), "--checkpoint", file),
    ],
    "matte by weights": lambda file, home: [
        *("matte", home.good / "picture.png", "--model", file, "--alpha", home.outputs / "pha.png"),
    ],
    # of a clip
    "matte a clip": lambda file, home: [
        *("matte", file, "--model", home.good / MODEL, "--max-frames", 4, "--downsample-ratio", 0.5),
        *("--alpha", home.outputs / "pha", "--composition", home.outputs / "com.mp4"),
    ],
    "matte a picture": lambda file, home: [
        *("matte", file, "--model", home.good / MODEL, "--downsample-ratio", 0.5, "--alpha", home.outputs / "pha.png"),
    ],
    "matte to its name": lambda file, home: [
        *("matte", file, "--model", home.good / MODEL, "--max-frames", 2, "--downsample-ratio", 0.5),
        *("--alpha", f"{home.outputs}/{{name}}/pha"),
    ],
    "matte over": lambda file, home: [
        *("matte", home.good / CLIP, "--model", home.good / MODEL, "--max-frames", 3, "--downsample-ratio", 0.5),
        *("--background", file, "--composition", home.outputs / "com.mp4"),
    ],
    "verify --clip": lambda file, home: [
        *("verify", home.good / MODEL, "--clip", file, "--frames", FRAMES, "--checkpoint", "seeded"),
    ],
    # of a release
    "release verify": lambda folder, _: ["release", "verify", folder, "--frames", 16],
    "release resumed": lambda folder, _: [
        *("release", "--out", folder, "--checkpoint", "seeded", "--frames", 16, "--version", "1.2.3", "--jobs", 1),
    ],
}
"""The words of each command, by its name here."""

MUTATED: Mapping[str, tuple[str, ...]] = {
    "model": ("info", "verify", "recover", "matte"),
    "weights": ("export --checkpoint", "verify --checkpoint"),
    "picture": ("matte a picture", "matte over"),
    "video": ("matte a clip", "verify --clip", "matte over"),
    "pictures": ("matte a clip", "verify --clip"),
    "release": ("release verify",),
}
"""The commands for each kind of a mutated file."""

EVERY: Mapping[str, tuple[str, ...]] = {
    "onnx": (*MUTATED["model"], "compare", "export --checkpoint", "bisect", "doctor", "demo"),
    "tfjs": (*MUTATED["model"], "compare", "export --checkpoint", "demo"),
    "model": (*MUTATED["model"], "compare", "export --checkpoint"),
    "weights": (*MUTATED["weights"], "matte by weights"),
    "picture": MUTATED["picture"],
    "video": MUTATED["video"],
    "pictures": MUTATED["pictures"],
    "name": ("matte to its name",),
    "release": MUTATED["release"],
    "unfinished release": ("release resumed",),
}
"""Every command that opens a file of a kind. They open a construction, of which there are few."""
