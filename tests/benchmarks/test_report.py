import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes

from digitcam.benchmarks.flips import by_image, pictures, worst
from digitcam.benchmarks.plots import Palette, drawing
from digitcam.benchmarks.readme import RESULTS, SHIPPED
from digitcam.benchmarks.report import report
from digitcam.benchmarks.results import (
    AccuracyResult,
    DebugResult,
    EmulatedProcessor,
    Entry,
    FlashResult,
    Flip,
    FormatLosses,
    FormatStages,
    Histogram,
    LatencyResult,
    LayerLoss,
    OutputDifference,
    OutputsResult,
    OverheadResult,
    PeersResult,
    PowerCut,
    Quantiles,
    Seen,
    Stages,
    read_result,
    write_result,
)
from digitcam.benchmarks.views import history
from digitcam.cli import cli
from digitcam.core.errors import BenchmarkInvalidError, SinkError

replace = msgspec.structs.replace


def latency(name: str = "canvas") -> LatencyResult:
    """A committed result with all that newer ones tell."""
    result = read_result(RESULTS / f"{name}-latency.json", LatencyResult)
    quantiles = Quantiles(1.0, 2.0, 3.0)
    bins = {
        format: replace(found, histogram=Histogram(0.5, 1.1, [3, 0, 5])) for format, found in result.formats.items()
    }
    stages = Stages("demo:", (640, 480), 10, {"int8.onnx": FormatStages(*[quantiles] * 6)})
    return replace(result, formats=bins, further={2: bins}, stages=stages, valid=True)


def small(folder: Path) -> AccuracyResult:
    """Write an accuracy result of three images of one data set, of which int8 loses two."""
    result = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult)
    data = result.data_sets[0]
    float_, int8 = data.formats["fp32.onnx"], data.formats["int8.onnx"]
    lost = [Flip(0, "5459", "5459", "5458", 0.9, 0.4), Flip(2, "0", "0", "6", 0.9, 0.8)]
    metrics = replace(int8.metrics, images=3, sequence_accuracy=1 / 3)
    formats = {"fp32.onnx": float_, "int8.onnx": replace(int8, metrics=metrics, lost=lost, won=[])}
    found = replace(result, data_sets=[replace(data, images=3, formats=formats)])
    write_result(folder / "small.json", found)
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the command makes of a result of every kind, most of them the committed ones."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "boards").mkdir()
    for path in [*RESULTS.glob("canvas-*.json"), *RESULTS.glob("*-s[vw]*.json"), RESULTS / "history.jsonl"]:
        shutil.copy(path, folder)
    shutil.copy(RESULTS / "seed.json", folder)
    # A schema is no result.
    (folder / "boards" / "schema.json").write_text("{}")
    write_result(folder / "canvas-latency.json", latency())
    throttled = replace(latency(), valid=False, reasons=["throttled: under-voltage"])
    write_result(folder / "boards" / "pi.json", throttled)
    for kind, file in ((OverheadResult, "canvas-overhead.json"), (PeersResult, "canvas-peers.json")):
        busy = replace(read_result(RESULTS / file, kind), valid=False, reasons=["other load"])
        write_result(folder / "boards" / file, busy)
    subject, machine = throttled.subject, throttled.environment
    layer = LayerLoss("first<conv>", "Conv", 30.0, 20.0, 25.0, 0.5, 0.25, 100, 1_000_000)
    losses = {"int8.onnx": FormatLosses({"logits": 20.0}, 40.0, [layer])}
    write_result(folder / "debug.json", DebugResult(subject, machine, "fp32.onnx", "street", "test", 8, losses))
    same = {"canvas": {"int8.onnx": OutputDifference(4, 4, 200, 199, 0.25)}}
    processor = EmulatedProcessor("aarch64", "glibc 2.41", "3.13", {}, same)
    write_result(folder / "arm64.json", OutputsResult(True, "qemu", machine, {}, {"cortex-a72": processor}))
    tried = [Seen("a reboot", "4096 at the broker", 90.0)]
    cut = [PowerCut("switch link", "new", "4096", 120.0, "new")]
    board = {"processor": "cortex-a72", "memory_mb": "1024", "system": "Debian", "kernel": "6.12"}
    write_result(folder / "flash.json", FlashResult(True, "qemu", machine, board, {}, tried, cut, ["first"], 900.0))
    out = tmp_path_factory.mktemp("page") / "report.html"
    done = CliRunner().invoke(cli, ["bench", "report", str(folder), "--out", str(out)], standalone_mode=False)
    assert done.exception is None and done.output == f"{out}\n"
    return out


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs chromium: apt install chromium")
        pytest.skip("chromium is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "edge"))
    from test_page import Browser

    opened = Browser(chromium, tmp_path / "user")
    yield opened
    opened.close()


def test_chromium_opens_it_on_a_phone_in_the_dark_and_it_asks_for_nothing(page: Path, browser: Any) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", features=[dark])
    browser.open(page.as_uri())
    assert browser.errors == []
    assert [url for url in browser.urls if not url.startswith("data:")] == [page.as_uri()]
    js = browser.js
    # Tables scroll, the page does not; what is light by day is dark.
    assert js("document.documentElement.scrollWidth") <= 400
    assert js("getComputedStyle(document.body).backgroundColor") == "rgb(12, 14, 18)"
    # Every part of the list is there, all have a table or a plot.
    parts = js("[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash)?.id)")
    wanted = "accuracy latency sweep debug peers running outputs flash training history machines"
    assert parts == wanted.split()
    assert js(f"{parts}.every(id => document.querySelector(`#${{id}} table, #${{id}} svg`))")
    # What a screen reader needs.
    assert js("[...document.querySelectorAll('figure svg')].every(s => s.role && s.querySelector('title').textContent)")
    assert js("[...document.querySelectorAll('th')].every(t => ['col', 'row'].includes(t.scope))")
    assert js("document.querySelectorAll('caption').length === document.querySelectorAll('table').length")
    # A plot is drawn in the colours of the page.
    drawn = "getComputedStyle(document.querySelector('#sweep text')).fill"
    assert js(drawn) in ("rgb(154, 163, 178)", "rgb(236, 239, 244)")
    # Names within plots are of one plot each.
    assert js("(ids => new Set(ids).size === ids.length)([...document.querySelectorAll('[id]')].map(e => e.id))")
    # Four formats with two numbers of threads and the stages of one, a run, and six readers.
    assert js("document.querySelectorAll('tr.invalid').length") == 4 * 2 + 1 + 1 + 6
    struck = "getComputedStyle(document.querySelector('tr.invalid td')).textDecorationLine"
    assert js(struck) == "line-through"
    assert "boards/pi.json: throttled: under-voltage" in js("document.querySelector('.bad').textContent")


def test_the_page_stands_alone_and_tells_the_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert (
        re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text) == [] and "<script" not in text and "@import" not in text
    )
    assert len(text) < 3_000_000
    for found in read_result(RESULTS / "canvas-latency.json", LatencyResult).formats.values():
        assert f"<td>{found.p50_ms:.3f}</td>" in text
    # 199 of 200 values are the same; 98.6267 % of 30,000 images lie, by Wilson's formula, in 98.4886 to 98.7523 %.
    for told in (
        "first&lt;conv&gt;",
        "cortex-a72, emulated: aarch64, glibc 2.41",
        "Power cut off in a flash (emulated)",
        "<td>99.500 %</td>",
        "canvas-variable, test",
        "<td>98.63 %</td><td>98.49 to 98.75 %</td>",
    ):
        assert told in text


@pytest.mark.usefixtures("data_folder")
def test_the_page_of_the_committed_results_has_every_plot() -> None:
    titles = re.findall(r"<figure><svg [^>]*><title>([^<]+)</title>", report(RESULTS))
    assert len(titles) == len(set(titles))
    for network in SHIPPED:
        for format in ("int8.onnx", "int8.tflite"):
            assert any(title.startswith(f"Losses of {network} {format} by layer: ") for title in titles)
        for drawn in ("Histogram of {}&#x27;s latency: ", "Median ms of each stage of a frame with {}: "):
            assert any(title.startswith(drawn.format(network)) for title in titles)
    for drawn in (
        "Sequence accuracy against median latency, street, test: ",
        "Reliability on street, test of ",
        "Sequence accuracy by length of the number on street, test, ",
        "Median latency in ms on ",
        "Numbers right against digit height",
        "Numbers right against contrast",
        "Numbers right against blur",
        "Numbers right against turn",
        "Memory of canvas over a long run: ",
        "accuracy: street, test, commit by commit; ",
        "latency: times fp32.onnx, 1 thread, ",
    ):
        assert any(title.startswith(drawn) for title in titles), drawn


@pytest.mark.mnist
def test_the_page_shows_both_flipped_images_with_what_was_read(tmp_path: Path) -> None:
    small(tmp_path)
    figures = re.findall(r'<figure><img src="data:image/jpeg;base64,.*?</figure>', report(tmp_path), re.DOTALL)
    told = [
        (re.findall(r'alt="([^"]+)"', one), re.findall(r"<dt>(.+?)</dt><dd class=.(\w+).>(\d+) ", one))
        for one in figures
    ]
    assert told == [
        (
            [f"Image {number} of canvas-variable, which shows {truth}"],
            [("fp32.onnx", "right", truth), ("int8.onnx", "wrong", read)],
        )
        # The surest wrong reading first.
        for number, truth, read in ((2, "0", "6"), (0, "5459", "5458"))
    ]


@pytest.mark.parametrize("kind", ["latency", "peers", "soak", "sweep", "overhead", "training"])
def test_any_one_result_will_do(kind: str, tmp_path: Path) -> None:
    shutil.copy(next(RESULTS.glob(f"*-{kind}.json")), tmp_path)
    page = report(tmp_path)
    assert "1 result file from" in page and page.count("<h2>") == 2


def test_a_network_without_a_valid_time_has_no_point_and_that_is_said(tmp_path: Path, data_folder: Path) -> None:
    folder = tmp_path / "results"
    small(folder)
    write_result(folder / "latency.json", latency())
    timed = report(folder)
    assert "2 images are read otherwise than by the reference; no pictures of them: " in timed
    assert "data fetch mnist" in timed
    assert "Without a point" not in timed and "Sequence accuracy against median latency" in timed
    other = replace(latency().subject, sha256=dict.fromkeys(latency().formats, "0" * 64))
    for wrong in (replace(latency(), subject=other), replace(latency(), valid=False, reasons=["too few runs"])):
        write_result(folder / "latency.json", wrong)
        page = report(folder)
        assert "is here: canvas fp32.onnx, canvas int8.onnx." in page
        assert "Sequence accuracy against median latency" not in page


def test_without_boxes_there_is_no_place_to_be_right_about(tmp_path: Path, data_folder: Path) -> None:
    folder = tmp_path / "results"
    result = small(folder)
    place = r'<td class="text">int8.onnx</td><td>([^<]+)</td><td>([^<]+)</td><td>0.5: '
    ((error, iou),) = re.findall(place, report(folder))
    assert float(error) > 0 and 0.9 < float(iou) < 1
    data = result.data_sets[0]
    formats = {format: replace(found, iou_above={}) for format, found in data.formats.items()}
    write_result(folder / "small.json", replace(result, data_sets=[replace(data, formats=formats)]))
    dashes = 3 * "<td>\N{EN DASH}</td>"
    assert f'<td class="text">int8.onnx</td>{dashes}' in report(folder)


def test_a_drop_is_named_on_the_page(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "seed.json", tmp_path)
    line = {
        "commit": "0123456789ab",
        "date": "2026-01-01",
        "kind": "latency",
        "bundle": "s",
        "format": "int8.onnx",
        "data": "times fp32.onnx, 1 thread",
        "value": 3.0,
        "interval": None,
        "images": None,
        "environment": "a board",
    }
    later = {**line, "commit": "ba9876543210", "value": 2.0}
    (tmp_path / "history.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, (line, later))))
    page = report(tmp_path)
    assert "s int8.onnx, latency, times fp32.onnx, 1 thread: 2.00, was 3.00, from <code>0123456</code>" in page


def test_commits_stand_in_the_order_of_the_history() -> None:
    palette = Palette(["s", "n"], ["int8.onnx"])
    days = {"cccccccc": "2026-01-01", "bbbbbbbb": "2026-01-02", "aaaaaaaa": "2026-01-02"}
    lines = {
        commit: Entry(commit, day, "latency", "s", "int8.onnx", "x", 1.0, None, None, "")
        for commit, day in days.items()
    }
    known = [*(replace(lines[commit], bundle="n") for commit in ("bbbbbbbb", "aaaaaaaa")), *lines.values()]
    known.sort(key=lambda entry: list(days).index(entry.commit))
    (plot,) = history(known, palette)
    assert re.findall(r">([abc]{7})<", plot.svg) == ["ccccccc", "bbbbbbb", "aaaaaaa"]


def test_lines_of_other_images_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[float]] = []
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, x, y, *a, **k: (drawn.append(list(y)), plot(self, x, y, *a, **k))[1])
    line = Entry("a", "2026-01-01", "accuracy", "s", "int8.onnx", "x", 0.9, (0.0, 1.0), 10, "", "one")
    values = {"a": (0.9, "one"), "b": (0.8, "one"), "c": (0.7, "two"), "d": (0.6, "two")}
    known = [replace(line, commit=c, value=value, fingerprint=of) for c, (value, of) in values.items()]
    history(known, Palette(["s"], ["int8.onnx"]))
    # The key draws empty lines.
    assert [some for some in drawn if some] == [[0.9, 0.8], [0.7, 0.6]]


def test_what_is_no_result_is_named_and_an_earlier_page_stays(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("earlier")
    folder = tmp_path / "results"
    folder.mkdir()
    command = ["bench", "report", str(folder), "--out", str(out)]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    assert str(done.exception).startswith(f"{folder}: no result (*.json) in this folder")
    shutil.copy(RESULTS / "seed.json", folder)
    (folder / "notes.json").write_text('{"kind": "shopping"}')
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError)
    assert str(done.exception).startswith(f"{folder / 'notes.json'}: not a result") and "\n" not in str(done.exception)
    assert out.read_text() == "earlier"
    (folder / "notes.json").unlink()
    done = CliRunner().invoke(cli, [*command[:-1], str(out / "below.html")], standalone_mode=False)
    assert isinstance(done.exception, SinkError)


def test_the_worst_flips_come_first(tmp_path: Path) -> None:
    result = small(tmp_path)
    data = result.data_sets[0]
    assert worst(by_image(data)) == [2, 0]
    # Lost by two formats is worse than the surest of one; an image that is won is the least.
    other = replace(
        data.formats["int8.onnx"], lost=[Flip(0, "5459", "5459", "5458")], won=[Flip(1, "3", "8", "3", 0.9, 0.9)]
    )
    both = replace(data, formats={**data.formats, "int8.tflite": other})
    assert worst(by_image(both)) == [0, 2, 1]
    assert list(by_image(both)[0]) == ["int8.onnx", "int8.tflite"]


@pytest.mark.mnist
def test_flips_have_their_pictures(tmp_path: Path) -> None:
    from digitcam.train.data import data_set

    result = small(tmp_path)
    found = pictures(result, result.data_sets[0], most=1)
    (picture,) = found.pictures
    assert (found.images, found.missing, picture.number) == (2, "", 2)
    assert [(reading.format, reading.number, reading.right) for reading in picture.readings] == [
        ("fp32.onnx", "0", True),
        ("int8.onnx", "6", False),
    ]
    jpeg = np.frombuffer(base64.b64decode(picture.uri.partition(",")[2]), np.uint8)
    shown = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE).astype(int)
    image = data_set("canvas-variable").sample("test", 2).image
    assert shown.shape == image.shape and np.abs(shown - image).mean() < 5


@pytest.mark.mnist
def test_a_flip_whose_image_has_changed_since_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    result = small(tmp_path)
    data = result.data_sets[0]
    int8 = data.formats["int8.onnx"]
    # Image 2 shows 0: what was flipped as 8 was another.
    lost = [*int8.lost[:1], replace(int8.lost[1], truth="8", reference="8")]
    changed = replace(data, formats={**data.formats, "int8.onnx": replace(int8, lost=lost)})
    found = pictures(result, changed)
    assert ([picture.number for picture in found.pictures], found.images, found.changed) == ([0], 2, 1)
    write_result(tmp_path / "small.json", replace(result, data_sets=[changed]))
    page = report(tmp_path)
    assert "1 of 2 images that a format reads" in page
    assert "1 more is left out: the data set has changed since" in page


def test_a_plot_has_the_colours_of_the_page_and_its_own_names() -> None:
    palette = Palette(["one", "two"], ["fp32.onnx"])

    def draw(title: str) -> str:
        with drawing(title, "x", "y") as drawn:
            drawn.axes.plot([1, 2], [1, 2], "o", color=palette.colour("two"))
        return drawn.svg

    svg, other = draw("a < b"), draw("another")
    assert svg.startswith('<svg viewBox="0 0 345.6 244.8" role="img"><title>a &lt; b</title>') and svg == draw("a < b")
    assert f"var({palette.variable('two')})" in svg and "#0" not in svg.replace("url(#", "").replace('href="#', "")
    names = set(re.findall(r'id="([^"]+)"', svg))
    assert names and not names & set(re.findall(r'id="([^"]+)"', other))
