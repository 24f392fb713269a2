"""report.html: complete, safe, reproducible, and readable in a browser."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from exporters.tfjs.step import FOLDER as TFJS_FOLDER
from tools.companions.cards import to_card
from tools.release.page import Failure, to_html
from tools.tests.html_reader import Reader
from tools.tests.release_made import built_of, manifest_of

pytestmark = pytest.mark.timeout(1800)

ODD = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"
FAILURES = (
    Failure(name="rvm_resnet50_fp16.onnx", error="its process was killed twice; give it more memory"),
    Failure(name=ODD, error=f"{ODD} failed"),
)


@pytest.fixture(scope="session")
def built(seeded_artifacts):
    onnx_path = seeded_artifacts["onnx"]
    return [built_of(onnx_path, "onnx", onnx_path), built_of(seeded_artifacts["torchscript"], "torchscript", onnx_path)]


@pytest.fixture(scope="session")
def page(built):
    return to_html(manifest_of(*built), built, FAILURES)


def changed(each, **entry):
    return each.model_copy(update={"entry": each.entry.model_copy(update=entry)})


def test_it_is_well_formed_and_each_id_is_there_once(page):
    assert page.startswith("<!doctype html>")
    elements = Reader(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len({*ids}) == len(ids)
    targets = {attributes["href"].removeprefix("#") for tag, attributes in elements if tag == "a"}
    assert targets <= {*ids}
    used = {attributes["xlink:href"].removeprefix("#") for tag, attributes in elements if tag == "use"}
    assert used <= {*ids}


def test_it_loads_nothing_and_runs_nothing(page):
    reader = Reader(page)
    assert {tag for tag, _ in reader.elements} & {"script", "link", "iframe", "object", "form", "base"} == set()
    for tag, attributes in reader.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"#|data:image/jpeg;base64,", attributes.get(name, "#")), (tag, name)
    assert not re.search(r"@import|url\((?!#)", page)
    (policy,) = [each["content"] for each in reader.of("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; img-src data:; style-src-elem 'sha256-")


def test_every_file_and_failure_is_in_it(page, built):
    reader = Reader(page)
    for each in built:
        assert {"id": each.entry.file} in reader.of("article")
        for fact in (each.entry.sha256, f"{each.entry.bytes:,}"):
            assert fact in reader.text
        for drift in each.reports[0].comparison.outputs.values():
            assert f"{drift.max_abs:.1e}" in reader.text
    for failure in FAILURES:
        assert failure.name in reader.text
        assert failure.error in reader.text
    assert "2 of 4 files failed" in reader.text
    assert reader.text.count("✗ failed") == 1, "the one that is in the table"


def test_without_failures_it_says_so(built):
    text = Reader(to_html(manifest_of(*built), built, [])).text
    assert "Each of these 2 files" in text
    assert "ailed" not in text.replace("FAILED", "ailed")


def test_no_name_becomes_markup(built):
    (report,) = built[0].reports
    odd = changed(built[0], file=ODD, sha256=ODD, tools={ODD: ODD}).model_copy(
        update={"reports": (replace(report, artifact=Path(ODD), clip=ODD, runtime=ODD),)}
    )
    html = to_html(manifest_of(built[0], name=ODD, version=ODD, source=ODD), [odd], [Failure(name=ODD, error=ODD)])
    reader = Reader(html)
    assert reader.of("script") == []
    assert {"id": ODD} in reader.of("article")
    assert reader.text.count("{{ 7 * 7 }}") > 8
    assert "alert(1)</script>" not in html


def test_pictures_and_tables_are_said_in_words(page, built):
    reader = Reader(page)
    assert len(reader.of("img")) == len(built)
    assert all("PyTorch" in each["alt"] for each in reader.of("img"))
    plots = [each for each in reader.of("div") if each.get("role") == "img"]
    assert len(plots) == 2 * len(built)
    assert all("limit" in each["aria-label"] for each in plots)
    assert all(each.get("scope") in ("col", "row") for each in reader.of("th"))
    headings = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_every_line_of_a_plot_has_a_colour_of_the_page(page, built):
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert not re.search(r"#0000\d\d", svg)
        for name in ("fgr", "pha", "states"):
            assert svg.count(f"stroke: var(--{name})") == 2, "errors and limit"


def test_what_is_exact_says_so_and_has_no_plot(built):
    (report,) = built[0].reports
    zero = {
        name: replace(drift, max_abs=0.0, mean_abs=0.0, high_abs=0.0, frame_max=(0.0,) * 16, frame_mean=(0.0,) * 16)
        for name, drift in report.comparison.outputs.items()
    }
    exact = replace(report, comparison=replace(report.comparison, outputs=zero))
    html = to_html(manifest_of(built[0]), [built[0].model_copy(update={"reports": (exact,)})], [])
    assert "<svg" not in html
    assert "No output of any frame differs" in html
    assert "✓ 0.00\u00d7" in Reader(html).text


WRITE = """
import sys
from tools.release.build import Built
from tools.companions.cards import to_card
from tools.release.manifest import Manifest
from tools.release.page import Failure, to_html
manifest, *built = open(sys.argv[1]).read().splitlines()
built = [Built.model_validate_json(each) for each in built]
page = to_html(Manifest.model_validate_json(manifest), built, [Failure(name="x", error="y")])
sys.stdout.buffer.write("\\n".join([page, *(to_card(each.entry, each.seeded) for each in built)]).encode())
"""


def test_page_and_cards_are_the_same_in_another_process(built, tmp_path):
    texts = [manifest_of(*built).model_dump_json(), *(each.model_dump_json() for each in built)]
    (tmp_path / "given").write_text("\n".join(texts))
    root = Path(__file__).parents[2]
    written = subprocess.run(
        [sys.executable, "-c", WRITE, tmp_path / "given"],
        env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(root), "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"},
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=300,
    ).stdout.decode()
    page = to_html(manifest_of(*built), built, [Failure(name="x", error="y")])
    assert written == "\n".join([page, *(to_card(each.entry, each.seeded) for each in built)])
    assert not re.search(r"20\d\d-\d\d-\d\d", written)


LOOK = """
import { createRequire } from "node:module";
const [file, web, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${web}/package.json`)("playwright-core");
const chromiumSandbox = process.getuid() !== 0;
const browser = await chromium.launch({ executablePath, args: ["--disable-gpu"], chromiumSandbox });
const trouble = [], results = [];
try {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ viewport: { width: 375, height: 800 }, colorScheme });
    page.on("pageerror", (error) => trouble.push(error.message));
    page.on("console", (message) => trouble.push(message.text()));
    page.on("request", (request) => /^(file|data):/.test(request.url()) || trouble.push(request.url()));
    await page.goto(file);
    results.push(await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      ground: getComputedStyle(document.body).backgroundColor,
      pictures: [...document.images].map((image) => image.naturalWidth),
      line: getComputedStyle(document.querySelector("svg path[style*='--pha']")).stroke,
    })));
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify({ trouble, results }));
"""


def test_on_a_phone_it_fits_and_in_the_dark_it_is_dark(chromium, node, page, tmp_path):
    (tmp_path / "look.mjs").write_text(LOOK)
    (tmp_path / "report.html").write_text(page)
    command = [node, tmp_path / "look.mjs", (tmp_path / "report.html").as_uri(), TFJS_FOLDER, chromium]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["trouble"] == []
    light, dark = told["results"]
    assert light["width"] == dark["width"] == 375
    assert light["pictures"] == [1288, 1288]
    assert (light["ground"], dark["ground"]) == ("rgb(246, 246, 242)", "rgb(17, 19, 22)")
    assert light["line"] != dark["line"]
