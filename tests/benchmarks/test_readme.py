import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from msgspec.structs import replace

from digitcam.benchmarks import readme
from digitcam.benchmarks.gather import gather
from digitcam.benchmarks.results import (
    AccuracyResult,
    Flip,
    LatencyResult,
    OutputsResult,
    SoakResult,
    read_result,
    write_result,
)
from digitcam.benchmarks.views import OF_BUNDLE
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.train.street import MIX

REPOSITORY = Path(__file__).parents[2]
PARTS = ("benchmarks", "edge", "export", "tests", "train")
READMES = [REPOSITORY / "README.md", *chain.from_iterable((REPOSITORY / part).rglob("README.md") for part in PARTS)]


def test_the_readmes_tables_are_those_of_the_results() -> None:
    texts = {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in READMES}
    tables = {name: re.findall(r"<!-- results: (\w+) -->", text) for name, text in texts.items()}
    assert sorted(chain.from_iterable(tables.values())) == sorted(readme.TABLES)
    made = re.search(r"^READMES := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert made and sorted(made[1].split()) == [name for name, found in tables.items() if found]
    for text in texts.values():
        assert readme.render(text) == text, "run 'make readme'"


def anchors(path: Path) -> set[str]:
    """Return what can be linked to in a text, as GitHub names its headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text):
        name, _, anchor = "".join(link).partition("#")
        if name.startswith("https://"):
            continue
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("shipped", readme.SHIPPED)
def test_the_results_are_those_of_the_shipped_network(shipped: str) -> None:
    bundle = open_bundle(shipped)
    networks = {format: bundle.card.files[f"model.{format}"] for format in bundle.formats}
    read = "accuracy" if shipped == "canvas" else "world"
    for name, kind in ((read, AccuracyResult), ("latency", LatencyResult)):
        assert read_result(readme.RESULTS / f"{shipped}-{name}.json", kind).subject.sha256 == networks


def test_every_result_is_of_the_shipped_networks() -> None:
    shipped = {
        name: {format: bundle.card.files[f"model.{format}"] for format in bundle.formats}
        for name, bundle in ((name, open_bundle(name)) for name in readme.SHIPPED)
    }
    measured = {file: result for file, result in gather(readme.RESULTS).items() if not file.startswith("boards/")}
    # Whether a long run keeps its memory is a matter of the program, not of the weights.
    told = {file: result for file, result in measured.items() if not isinstance(result, SoakResult)}
    of_bundle = {file: result.subject for file, result in told.items() if isinstance(result, OF_BUNDLE)}
    kinds = {file.rpartition("-")[2] for file in of_bundle}
    assert kinds >= {f"{kind}.json" for kind in ("debug", "sweep", "svhn", "peers", "overhead")}
    for file, subject in of_bundle.items():
        if file.endswith("-latency-avx2.json"):
            # A processor without VNNI is not always at hand; how long a network takes is a matter of its shape.
            card = open_bundle(subject.name).card
            assert (subject.parameters, subject.macs) == (card.parameters, card.macs), file
            continue
        assert subject.sha256 and subject.sha256.items() <= shipped[subject.name].items(), file
    assert [result.sha256 for result in measured.values() if isinstance(result, OutputsResult)] == [shipped]


def test_latency_with_earlier_weights_is_told(tmp_path: Path) -> None:
    told = "digitcam-s with earlier weights of the same shape; from"
    for name in readme.SHIPPED:
        result = read_result(readme.RESULTS / f"{name}-latency.json", LatencyResult)
        write_result(tmp_path / f"{name}-latency.json", result)
    assert told not in readme.latency_table(tmp_path)
    path = tmp_path / "digitcam-s-latency.json"
    result = read_result(path, LatencyResult)
    other = replace(result.subject, sha256={**result.subject.sha256, "int8.onnx": "0" * 64})
    write_result(path, replace(result, subject=other))
    assert told in readme.latency_table(tmp_path)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with a result of every network on everything, small ones."""
    found = read_result(readme.RESULTS / "digitcam-n-world.json", AccuracyResult)
    street = replace(found.data_sets[0], images=400, formats=dict(found.data_sets[0].formats))
    metrics = replace(street.formats["fp32.onnx"].metrics, images=400, sequence_accuracy=0.75)
    street.formats["fp32.onnx"] = replace(street.formats["fp32.onnx"], metrics=metrics)
    for label, file, name in readme.WORLD:
        for network in readme.SHIPPED:
            path = tmp_path / f"{network}-{file}.json"
            known = read_result(path, AccuracyResult).data_sets if path.exists() else []
            boxed = "without" not in label and "date codes" not in label
            formats = {f: one if boxed else replace(one, iou_above={}) for f, one in street.formats.items()}
            write_result(path, replace(found, data_sets=[*known, replace(street, data=name, formats=formats)]))
    return tmp_path


def test_the_share_of_float_has_its_interval_and_what_has_no_box_no_iou(measured: Path) -> None:
    tables = [readme.TABLES[name](measured).splitlines()[2:-2] for name in ("world", "world_others")]
    rows = [row.split(" | ") for table in tables for row in table]
    # Each network on everything, once.
    assert len({(row[0], row[1]) for row in rows}) == len(rows) == len(readme.SHIPPED) * len(readme.WORLD)
    # Wilson's of 300 in 400.
    assert {row[2] for row in rows} == {"0.7500 (0.7053 to 0.7899)"}
    unboxed = ("drawn scenes without a number", "photographed date codes")
    assert Counter(row[0] for row in rows if row[5] == "-") == {f"| 400 {label}": 3 for label in unboxed}


def test_the_float_formats_are_called_alike_only_where_they_are(measured: Path) -> None:
    said = "both float formats are right on the same"
    assert said in readme.world_table(measured, readme.NOT_MADE_FOR)
    path = measured / "canvas-accuracy.json"
    result = read_result(path, AccuracyResult)
    first = result.data_sets[0]
    apart = replace(first.formats["fp32.tflite"], lost=[Flip(0, "1", "1", "7")], won=[Flip(1, "2", "7", "2")])
    changed = replace(first, formats={**first.formats, "fp32.tflite": apart})
    write_result(path, replace(result, data_sets=[changed, *result.data_sets[1:]]))
    assert said not in readme.world_table(measured, readme.NOT_MADE_FOR)


def test_every_kind_of_street_has_its_row(tmp_path: Path) -> None:
    assert list(readme.KINDS) == list(MIX)
    made = re.search(r"^KINDS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert made and made[1].split() == list(MIX)
    found = read_result(readme.RESULTS / "digitcam-n-world.json", AccuracyResult)
    street = found.data_sets[0]
    for network, accuracies in {"digitcam-s": (0.75, 0.9), "digitcam-n": (0.5, 0.8)}.items():
        data_sets = []
        for kind in readme.KINDS:
            share = accuracies[kind == "print"]
            metrics = replace(street.formats["int8.tflite"].metrics, images=400, sequence_accuracy=share)
            int8 = replace(street.formats["int8.tflite"], metrics=metrics, accepted=0.6, wrongly_accepted=0.0125)
            formats = {**street.formats, "int8.tflite": int8}
            data_sets.append(replace(street, data=f"street-{kind}", images=400, formats=formats))
        write_result(tmp_path / f"{network}-kinds.json", replace(found, data_sets=data_sets))
    rows = {row.split(" | ")[0]: row.split(" | ")[1:] for row in readme.kinds_table(tmp_path).splitlines()[2:-2]}
    assert len(rows) == 6
    # Wilson's of 300, 200, 360 and 320 in 400.
    house, printed = rows[f"| {readme.KINDS['house']}"], rows[f"| {readme.KINDS['print']}"]
    assert house == ["0.750 (0.705 to 0.790)", "60.0%", "1.2%", "0.500 (0.451 to 0.549)", "60.0%", "1.2% |"]
    assert (printed[0], printed[3]) == ("0.900 (0.867 to 0.926)", "0.800 (0.758 to 0.836)")


def test_a_changed_table_is_made_anew_and_the_rest_kept(tmp_path: Path) -> None:
    text = "before\n<!-- results: latency -->\nold\n<!-- end -->\nafter\n"
    found = readme.render(text)
    assert found.startswith("before\n<!-- results: latency -->\n\n| network |")
    assert found.endswith("\n\n<!-- end -->\nafter\n") and "old" not in found
    empty = text.replace("old\n", "")
    assert readme.render(empty + text) == found + found
    with pytest.raises(BenchmarkInvalidError):
        readme.render(text, tmp_path)
