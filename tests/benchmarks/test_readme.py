import re
from pathlib import Path

import pytest

from digitcam.benchmarks import readme
from digitcam.benchmarks.gather import gather
from digitcam.benchmarks.results import AccuracyResult, LatencyResult, OutputsResult, SoakResult, read_result
from digitcam.benchmarks.views import OF_BUNDLE
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_tables_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- results: (\w+) -->", text)) == set(readme.TABLES)
    assert readme.render(text) == text, "run 'make readme'"


@pytest.mark.parametrize("shipped", readme.SHIPPED)
def test_the_results_are_those_of_the_shipped_network(shipped: str) -> None:
    bundle = open_bundle(shipped)
    networks = {format: bundle.card.files[f"model.{format}"] for format in bundle.formats}
    read = "accuracy" if shipped == "canvas" else "world"
    for name, kind in ((read, AccuracyResult), ("latency", LatencyResult), ("latency-avx2", LatencyResult)):
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
        assert subject.sha256 and subject.sha256.items() <= shipped[subject.name].items(), file
    assert [result.sha256 for result in measured.values() if isinstance(result, OutputsResult)] == [shipped]


def test_a_changed_table_is_made_anew_and_the_rest_kept(tmp_path: Path) -> None:
    text = "before\n<!-- results: latency -->\nold\n<!-- end -->\nafter\n"
    found = readme.render(text)
    assert found.startswith("before\n<!-- results: latency -->\n\n| network |")
    assert found.endswith("\n\n<!-- end -->\nafter\n") and "old" not in found
    empty = text.replace("old\n", "")
    assert readme.render(empty + text) == found + found
    with pytest.raises(BenchmarkInvalidError):
        readme.render(text, tmp_path)
