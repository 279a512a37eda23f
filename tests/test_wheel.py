"""The wheel as a device gets it: built, installed into an empty environment with LiteRT alone, and used there."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import cv2
import pytest

from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.reading import decode_reading

ROOT = Path(__file__).parents[1]


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_reads_a_number_where_nothing_else_is(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"digitcam"}
    assert "digitcam/bundles/canvas/model.int8.tflite" in names and "digitcam/core/py.typed" in names

    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[litert]")
    installed = run(python, "-m", "pip", "list", "--format", "freeze").lower()
    assert "digitcam" in installed and "ai-edge-litert" in installed
    for absent in ("torch", "onnx", "matplotlib"):
        assert f"\n{absent}" not in f"\n{installed}"

    digitcam = python.with_name("digitcam")
    assert "int8.tflite  5 of 5" in run(digitcam, "selftest", "canvas")
    cv2.imwrite(str(tmp_path / "number.png"), draw_glyphs("20817", rng_for(11, 5, 9)).image)
    (line,) = run(digitcam, "predict", "canvas", tmp_path / "number.png", "--json").splitlines()
    reading = decode_reading(line)
    assert reading.number == "20817" and reading.accepted and reading.model.format == "int8.tflite"
