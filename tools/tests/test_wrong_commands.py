"""Every wrong command gets one line that says what to type instead, exit code 2, and leaves nothing behind."""

import shlex
from itertools import chain

import pytest

from exporters import FORMATS
from tools.cli.advice import COMMANDS, OPTIONS
from tools.cli.options import app

WRONG = """
onx                                                 | did you mean onnx?
export                                              | did you mean coreml or executorch or
ios                                                 | did you mean for ios or coreml?
obs                                                 | did you mean for obs?
for                                                 | Consumer: python, browser, node
for toaster                                         | no such target: toaster; give one of python, browser
for python --resolution 64x48                       | leave --resolution out
doctor                                              | ONNX file of the network
doctor m.onnx --as vlc                              | give one of official, obs
doctor nowhere.onnx                                 | cannot read nowhere.onnx
Serve                                               | did you mean demo?
frobnicate                                          | the commands are coreml, executorch, litert, ncnn, onnx,
notes.txt                                           | it is a file; to see what is in it: rvm-export info notes.txt
release verfy                                       | did you mean verify?
--checkpoint seeded onnx                            | rvm-export coreml --checkpoint ...
onnx --weights w.pth                                | give --checkpoint
onnx --size 64x48                                   | give --resolution
onnx --ratio .5                                     | give --downsample-ratio
onnx --fp16                                         | give --precision fp16
onnx --precison fp16                                | did you mean --precision
onnx --overwrite                                    | give --force
onnx --nonsense                                     | see rvm-export onnx --help
tfjs --opset 12                                     | see rvm-export tfjs --help
verify m.onnx --gpu                                 | give --device cuda
matte clip.mp4 --weights m.onnx                     | give --model
matte clip.mp4 --output-composition out.mp4         | give --composition
matte clip.mp4 --size 64x48                         | give --resize
onnx w.pth                                          | give weights as --checkpoint w.pth
onnx tfjs                                           | rvm-export tfjs ...
onnx out                                            | where to write as --output
onnx --resolution 1920 1080                         | give weights as --checkpoint, and where
info a.onnx b.onnx                                  | see rvm-export info --help
onnx --resolution                                   | '--resolution' requires an argument
onnx --resolution 1920                              | give width x height in pixels, such as 1280x720
onnx --resolution 0x0                               | give width x height in pixels, such as 1280x720
onnx --resolution 1920*1080                         | give width x height in pixels, such as 1280x720
onnx --resolution 64x48 --downsample-ratio 2        | give a number in (0, 1], or auto
onnx --resolution 64x48 --downsample-ratio 1/4      | give a number in (0, 1], or auto
onnx --resolution 64x48 --batch 0                   | --batch 0: give 1 or more
onnx --downsample-ratio .5                          | goes with a --resolution
onnx --batch two                                    | Invalid value 'two' for '--batch': give a whole number
onnx --precision half                               | is not one of fp32, fp16, int8
onnx --precision fp16,fp32                          | is not one of fp32, fp16, int8
onnx --variant resnet101                            | 'resnet101' is not one of 'mobilenetv3', 'resnet50'
onnx --refiner none                                 | is not one of 'deep_guided_filter', 'fast_guided_filter'
onnx --opset 9                                      | is not one of 12 to 21
onnx --opset eleven                                 | Invalid value 'eleven' for '--opset': give a whole number
onnx --profile gpu                                  | is not one of ort, tensorrt
onnx --io rgb                                       | is not one of nchw
onnx --io-dtype fp64                                | is not one of same, fp32
onnx --outputs alpha                                | give fgr, pha, fgr,pha or coefficients
onnx --calibration folder                           | give --precision int8
onnx --checkpoint nowhere.pth                       | no such checkpoint: nowhere.pth; give a .pth
onnx --checkpoint offical                           | give a .pth or .safetensors file, official
onnx --checkpoint notes.txt                         | is neither a checkpoint (.pth, .safetensors) nor
onnx --checkpoint folder                            | is neither a checkpoint (.pth, .safetensors) nor
onnx --checkpoint seeded --output x.pt              | does not end in .onnx; give a name that does
torchscript --checkpoint seeded --output x.onnx     | does not end in .torchscript; give a name that does
coreml --checkpoint seeded                          | give --resolution, such as 1280x720
coreml --checkpoint seeded -r 641x359 -d .5         | give 640x358 or 642x360
coreml --precision int4                             | is not one of fp16, fp32, int8
tensorflow --precision int8                         | is not one of fp32
verify                                              | Files of any format
verify nowhere.onnx                                 | cannot read nowhere.onnx
verify folder                                       | give the files in this folder themselves
verify notes.txt                                    | is none of the formats known here
verify clip.mp4                                     | give it as the clip or the input
verify w.pth                                        | export it first, or give it as --checkpoint
verify m.onnx --clip nowhere.mp4                    | no such clip: nowhere.mp4; give an image folder or a video
verify m.onnx --frames 3                            | give at least 12
verify m.onnx --frames many                         | Invalid value 'many' for '--frames': give a whole number
verify m.onnx --device gpu                          | is not one of cpu, cuda
verify m.onnx --downsample-ratio 7                  | give a number in (0, 1], or auto
verify m.onnx --json - --junit -                    | give all but one a file
verify m.onnx --json folder                         | give a file, or - for stdout
bisect w.pth                                        | export it first
compare m.onnx                                      | The other model, of any format
compare m.onnx seeded                               | Picture or video to write
compare m.onnx seeded --output x.gif                | ends in none of .png, .mp4; give a name that does
recover                                             | Files or folders of any format
recover notes.txt                                   | is none of the formats known here
info                                                | A file of any format
info nowhere                                        | cannot read nowhere
info folder                                         | give the files in this folder themselves
matte                                               | Videos, pictures, folders of pictures
matte clip.mp4                                      | File of any format, .pth or .safetensors checkpoint
matte clip.mp4 --model seeded                       | give at least one of --composition, --alpha
matte m.onnx --model clip.mp4 --alpha x.mp4         | give it as the clip or the input
matte nowhere.mp4 --model seeded --alpha x.mp4      | give a video, a picture or a folder of pictures
matte notes.txt --model seeded --alpha x.mp4          | cannot read notes.txt as a video
matte clip.mp4 --model seeded --alpha a.mp4 -b red  | --background is for --composition
matte clip.mp4 --model seeded --alpha a.mp4 -j 0    | Invalid value '0' for '--jobs' / '-j': give at least 1
matte clip.mp4 --model seeded --alpha a.mp4 --resize 640   | give width x height in pixels
matte clip.mp4 --model seeded --alpha a.mp4 --seq-chunk 0  | give 1 or more frames
matte clip.mp4 --model seeded --alpha a.mp4 --start soon   | --start soon: give seconds, such as 12.5
matte clip.mp4 --model seeded --alpha a.mp4 --bits nine    | '--bits': give a whole number
matte clip.mp4 --model seeded --alpha a.mp4 --preview p.png | --alpha is not for --preview
demo --port http                                    | '--port': give a whole number
demo --model notes.txt                              | is none of the formats known here
demo --static site --port 80                        | --port is not for --static; leave it out
demo --static site --open                           | --open is not for --static; leave it out
demo --force                                        | --force is for --static; leave it out
bench nowhere.onnx                                  | cannot read nowhere.onnx
bench --preset hd                                   | is not one of rvm
bench --threads 0                                   | Invalid value '0' for '--threads': give at least 1
benchmark --formats tflite                          | is not one of coreml, executorch, litert, ncnn, onnx
release --checkpoint mobilnet=seeded                | is not one of mobilenetv3, resnet50
release --only tflite                               | give one of coreml, executorch, litert, ncnn, onnx
release --jobs zero                                 | give a whole number
release --sign nowhere.pem                          | give a private key
release verify                                      | The release's folder
release verify nowhere                              | give that of a release
"""
CASES = [tuple(part.strip() for part in line.split("|")) for line in WRONG.strip().splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder of files that are none of what they are given for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "clip.mp4", "w.pth", "m.onnx"):
        (tmp_path / name).write_text("text\n")
    return tmp_path


@pytest.mark.parametrize(("words", "said"), CASES, ids=[words for words, _ in CASES])
def test_a_wrong_command_is_told_what_to_type(words, said, run, folder):
    before = {*folder.rglob("*")}
    result = run(*shlex.split(words))
    assert said in result.error
    assert result.code == 2
    assert result.out == ""
    assert {*folder.rglob("*")} == before


def test_there_are_at_least_eighty():
    assert len(CASES) >= 80


def test_without_a_word_the_first_steps_are_shown(run):
    result = run()
    assert (result.code, len(result.err.splitlines())) == (2, 5)
    assert "rvm-export onnx" in result.err
    assert "rvm-export: error" not in result.err


def test_what_is_advised_exists():
    root = app_commands()
    options = {switch for command in root.values() for each in command.params for switch in each.opts}
    assert {each.split()[0] for each in chain(*OPTIONS.values())} <= options
    assert {each for each in chain(*COMMANDS.values()) if each[0] != "-"} <= {*root}
    assert not {*COMMANDS} & {*root}
    assert {*FORMATS} <= {*root}


def test_out_is_still_output(run, folder):
    (folder / "file").touch()
    for option in ("--output", "--out", "-o"):
        assert run("release", option, "file", "--checkpoint", "seeded").error.endswith("give another --output")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell, monkeypatch, run):
    monkeypatch.setenv("_RVM_EXPORT_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", "rvm-export bis")
    monkeypatch.setenv("COMP_CWORD", "1")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "rvm-export bis")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert "bisect" in run().out


def app_commands():
    from typer.main import get_command

    return get_command(app).commands
