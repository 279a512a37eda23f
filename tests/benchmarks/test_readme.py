import re
from pathlib import Path

import pytest

from digitcam.benchmarks import readme
from digitcam.benchmarks.results import AccuracyResult, LatencyResult, read_result
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
    for name, kind in ((read, AccuracyResult), ("latency", LatencyResult)):
        assert read_result(readme.RESULTS / f"{shipped}-{name}.json", kind).subject.sha256 == networks


def test_a_changed_table_is_made_anew_and_the_rest_kept(tmp_path: Path) -> None:
    text = "before\n<!-- results: latency -->\nold\n<!-- end -->\nafter\n"
    found = readme.render(text)
    assert found.startswith("before\n<!-- results: latency -->\n\n| network |")
    assert found.endswith("\n\n<!-- end -->\nafter\n") and "old" not in found
    empty = text.replace("old\n", "")
    assert readme.render(empty + text) == found + found
    with pytest.raises(BenchmarkInvalidError):
        readme.render(text, tmp_path)
