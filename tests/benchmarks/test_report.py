import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.report import report
from digitcam.benchmarks.results import LatencyResult, read_result, write_result
from digitcam.core.errors import BenchmarkInvalidError, ConfigError


def test_the_page_stands_alone_and_tells_the_results() -> None:
    page = report(RESULTS, "canvas")
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    latency = read_result(RESULTS / "canvas-latency.json", LatencyResult)
    for found in latency.formats.values():
        assert f"<td>{found.p50_ms:.3f}</td>" in page


def test_chromium_opens_it(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs chromium: apt install chromium")
        pytest.skip("chromium is not installed")
    (tmp_path / "report.html").write_text(report(RESULTS, "canvas"), encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/user"]
    page = (tmp_path / "report.html").as_uri()
    done = subprocess.run([*command, "--dump-dom", page], capture_output=True, text=True, check=True, timeout=120)
    assert "<h1>canvas</h1>" in done.stdout and "<svg" in done.stdout and "int8.tflite" in done.stdout


def test_results_of_different_networks_do_not_mix(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "canvas-accuracy.json", tmp_path)
    latency = read_result(RESULTS / "canvas-latency.json", LatencyResult)
    other = msgspec.structs.replace(latency.subject, sha256={"int8.onnx": "0" * 64})
    write_result(tmp_path / "canvas-latency.json", msgspec.structs.replace(latency, subject=other))
    with pytest.raises(ConfigError, match="of different networks"):
        report(tmp_path, "canvas")


def test_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkInvalidError, match=r"canvas-accuracy\.json: cannot read"):
        report(tmp_path, "canvas")
