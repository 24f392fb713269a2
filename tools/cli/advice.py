"""Say what to type instead of a word that no command knows."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from exporters import FORMATS
from tools.targets.targets import read_targets

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "--backbone": ("--variant",),
    "--bg": ("--background",),
    "--bgr": ("--background",),
    "--ckpt": ("--checkpoint", "--model"),
    "--com": ("--composition",),
    "--cuda": ("--device cuda",),
    "--downsample": ("--downsample-ratio",),
    "--dtype": ("--precision",),
    "--encoder": ("--variant",),
    "--fgr": ("--foreground",),
    "--fp16": ("--precision fp16",),
    "--fp32": ("--precision fp32",),
    "--gpu": ("--device cuda",),
    "--half": ("--precision fp16",),
    "--input-resize": ("--resize",),
    "--input-shape": ("--resolution",),
    "--input-size": ("--resolution", "--resize"),
    "--int8": ("--precision int8",),
    "--model": ("--checkpoint",),
    "--model-variant": ("--variant",),
    "--num-workers": ("--jobs",),
    "--opset-version": ("--opset",),
    "--output-alpha": ("--alpha",),
    "--output-composition": ("--composition",),
    "--output-dir": ("--output",),
    "--output-foreground": ("--foreground",),
    "--output-video-mbps": ("--mbps",),
    "--overwrite": ("--force",),
    "--pha": ("--alpha",),
    "--quantize": ("--precision int8",),
    "--ratio": ("--downsample-ratio",),
    "--scale": ("--downsample-ratio",),
    "--shape": ("--resolution",),
    "--size": ("--resolution", "--resize"),
    "--video": ("--clip",),
    "--weights": ("--checkpoint", "--model"),
    "--workers": ("--jobs",),
    "--yes": ("--force",),
}
"""Our options by the names that other tools give them, RVM's own scripts too. Advised is the first that fits."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("convert", "export", "to"), tuple(FORMATS)),
    "android": ("ncnn", "onnx", "litert"),
    **dict.fromkeys(("pte", "xnnpack", "torch-mobile"), ("executorch",)),
    **dict.fromkeys(("tflite", "tf-lite", "tensorflow-lite"), ("litert",)),
    **dict.fromkeys(("ort", "trt"), ("onnx",)),
    **dict.fromkeys(("param", "pnnx"), ("ncnn",)),
    **dict.fromkeys(("intel", "ir", "mo", "ovc"), ("openvino",)),
    **dict.fromkeys(("core-ml", "ios", "mlmodel", "mlpackage"), ("coreml",)),
    **dict.fromkeys(("keras", "saved-model", "saved_model", "savedmodel", "tf"), ("tensorflow",)),
    **dict.fromkeys(("browser", "js", "tensorflowjs", "tf.js", "web"), ("tfjs",)),
    **dict.fromkeys(("jit", "pt", "pytorch", "script", "torch", "trace"), ("torchscript",)),
    **dict.fromkeys(("check", "parity", "test", "validate"), ("verify",)),
    **dict.fromkeys(("debug", "layers"), ("bisect",)),
    **dict.fromkeys(("describe", "inspect", "metadata", "show"), ("info",)),
    **dict.fromkeys(("inference", "infer", "predict", "run", "video"), ("matte",)),
    **dict.fromkeys(("camera", "serve", "server", "webcam"), ("demo",)),
    **dict.fromkeys(("profile", "speed", "time"), ("bench",)),
    **dict.fromkeys(("extract", "import", "weights"), ("recover",)),
    **dict.fromkeys(("publish", "dist", "build"), ("release",)),
    "diff": ("compare",),
    "help": ("--help",),
    "version": ("--version",),
}
"""Our commands by words that people type instead."""

ENGLISH: Mapping[str, str] = {
    r": Value error, ": ": ",
    r": Input should be a valid integer.*": ": give a whole number",
    r": Input should be a valid number.*": ": give a number",
    r": Input should be greater than or equal to (\S+)": r": give at least \1",
}
"""Patterns in Typer's messages about values, and our replacements."""


def advised(error: typer.TyperException) -> str:
    """Return the message of a wrong command line, with what to type instead."""
    message = error.message if hasattr(error, "option_name") else error.format_message()
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    option, parameter = getattr(error, "option_name", None), getattr(error, "param", None)
    if message.startswith("No such option"):
        return f"{message}{_instead_of(str(option), context)}"
    if message.startswith("No such command"):
        return f"{message.partition('. Did')[0].rstrip('.')}{_command_instead_of(message.split(chr(39))[1], context)}"
    if message.startswith("Missing") and parameter is not None:
        return f"{message.rstrip('.')}: {parameter.help.rstrip('.')}{_see(context)}"
    if message.startswith("Got unexpected extra argument"):
        return f"{message}{_option_for(message, context)}"
    for typed, said in ENGLISH.items():
        message = re.sub(typed, said, message)
    return _with_value(message, error)


def _with_value(message: str, error: typer.TyperException) -> str:
    """Return a message about a value that shows the value too."""
    cause: Any = error.__cause__
    if not hasattr(cause, "errors"):  # pydantic's, which has the value
        return message
    value = repr(cause.errors()[0]["input"])
    return message if value in message else message.replace("Invalid value for", f"Invalid value {value} for", 1)


def _instead_of(option: str, context: Any) -> str:
    """Return what to type for an option that the command has not."""
    own = _options(context.command)
    for each in OPTIONS.get(option, ()):
        if each.split()[0] in own:
            return f"; give {each}"
    close = get_close_matches(option, own, 2)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    for name, command in getattr(context.command, "commands", {}).items():
        if option in _options(command):
            return f" before the command; give it behind, such as: {context.command_path} {name} {option} ..."
    return _see(context)


def _command_instead_of(word: str, context: Any) -> str:
    """Return what to type for a command that there is not."""
    own = context.command.commands
    if Path(word).exists():
        return f": it is a file; to see what is in it: {context.command_path} info {word}"
    known: tuple[str, ...] = ()
    if context.parent is None:
        consumers = (f"for {word.lower()}",) if word.lower() in read_targets() else ()
        known = (*consumers, *COMMANDS.get(word.lower(), ()))
    meant = known or get_close_matches(word, own, 2)
    return f"; did you mean {' or '.join(meant)}?" if meant else f"; the commands are {', '.join(own)}"


def _option_for(message: str, context: Any) -> str:
    """Return which option may have been meant by a word too many."""
    own = _options(context.command)
    word = message.rpartition("(")[2].rstrip(").")
    if word.endswith((".pth", ".safetensors")) and "--checkpoint" in own:
        return f"; give weights as --checkpoint {word}"
    if word in FORMATS:
        return f"; one command exports one format: {context.parent.command_path} {word} ..."
    if "--output" in own and "--checkpoint" in own:
        return "; give weights as --checkpoint, and where to write as --output"
    return _see(context)


def _options(command: Any) -> list[str]:
    return [switch for each in command.params for switch in (*each.opts, *each.secondary_opts) if switch[0] == "-"]


def _see(context: Any) -> str:
    return f"; see {context.command_path} --help"
