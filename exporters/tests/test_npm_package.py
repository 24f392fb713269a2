"""Test the npm package of rvm.js: its content, its version, its types' names, and that Node imports it."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from rvm_model import __version__

ROOT = Path(__file__).parents[2]
NPM = ROOT / "exporters" / "tfjs" / "npm"
IMPORTING = """
import { Matting } from "rvm-matting";
import { FullSize } from "rvm-matting/full_size.js";
import { FullSizeWebGpu } from "rvm-matting/full_size_webgpu.js";
const functions = (each) => Object.getOwnPropertyNames(each).filter((name) => typeof each[name] === "function");
const members = (each) => [each.name, ...functions(each), ...Object.getOwnPropertyNames(each.prototype)];
const tf = { scalar: (value) => value, keep: (state) => state, dispose() {} };
const { states, downsampleRatio } = new Matting(tf, {}, { downsampleRatio: 0.25 });
const modules = { rvm: members(Matting), full_size: members(FullSize), full_size_webgpu: members(FullSizeWebGpu) };
console.log(JSON.stringify({ ...modules, states, downsampleRatio }));
"""


@pytest.fixture(scope="module")
def packed(node, tmp_path_factory) -> Path:
    """Return `node_modules` with the package that `make npm` makes, unpacked."""
    out = tmp_path_factory.mktemp("npm")
    command = ["make", "--silent", "-C", ROOT, "npm", f"OUT={out / 'made'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    modules = out / "node_modules"
    with tarfile.open(out / "made" / f"rvm-matting-{__version__}.tgz") as archive:
        archive.extractall(modules, filter="data")
    (modules / "package").rename(modules / "rvm-matting")
    return modules


def test_it_holds_the_modules_with_their_types(packed):
    names = {path.name for path in (packed / "rvm-matting").iterdir()}
    assert names == {
        *("package.json", "README.md", "LICENSE"),
        *("rvm.js", "rvm.d.ts", "full_size.js", "full_size.d.ts", "full_size_webgpu.js", "full_size_webgpu.d.ts"),
    }
    web = "exporters/support/web"
    for name, folder in (("rvm.js", "exporters/tfjs"), ("full_size.js", web), ("full_size_webgpu.js", web)):
        assert (packed / "rvm-matting" / name).read_bytes() == (ROOT / folder / name).read_bytes()


def test_node_imports_it_and_its_types_name_what_is_there(packed, node):
    script = packed.parent / "importing.mjs"
    script.write_text(IMPORTING)
    done = subprocess.run([node, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["states"], found["downsampleRatio"]) == ([0, 0, 0, 0], 0.25)
    for module in ("rvm", "full_size", "full_size_webgpu"):
        name, *members = found[module]
        (declared,) = re.findall(
            rf"^export class {name} {{$(.*?)^}}", (NPM / f"{module}.d.ts").read_text(), re.S | re.M
        )
        assert {*re.findall(r"^  (?:get |static )?(\w+)\(", declared, re.M)} == {*members}


def test_its_version_is_that_of_the_project():
    package = json.loads((NPM / "package.json").read_text())
    assert package["version"] == __version__
    runs_in = json.loads((ROOT / "exporters" / "tfjs" / "web" / "package.json").read_text())["dependencies"]
    assert package["peerDependencies"] == {"@tensorflow/tfjs": f"^{runs_in['@tensorflow/tfjs']}"}
