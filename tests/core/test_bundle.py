import json
import shutil
import zipfile
from pathlib import Path

import pytest

from digitcam.core.bundle import SHIPPED, open_bundle, write_bundle
from digitcam.core.card import FORMATS
from digitcam.core.errors import ConfigError, ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "copy"))


def test_a_shipped_name_a_folder_and_an_archive_are_the_same(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "copy.digitcam"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in folder.iterdir():
            zipped.write(file, file.name)
    cards = [open_bundle(where).card for where in ("canvas", folder, archive)]
    assert cards[0] == cards[1] == cards[2]
    assert open_bundle(archive).read("model.int8.onnx") == (folder / "model.int8.onnx").read_bytes()
    assert open_bundle("canvas").formats == list(FORMATS)


def test_the_golden_inputs_are_there() -> None:
    golden = open_bundle("canvas").golden()
    assert golden.images.shape == (5, 128, 256, 1)
    assert golden.numbers == ["0", "17", "406", "5823", "90142"]
    assert golden.outputs["int8.tflite"]["logits"].shape == (5, 16, 32, 11)
    assert golden.outputs["fp32.onnx"]["boxes"].shape == (5, 16, 32, 4)


def test_writing_keeps_what_is_there(tmp_path: Path) -> None:
    card = open_bundle("canvas").card
    written = write_bundle(tmp_path / "new", card, {"model.int8.onnx": b"12"})
    assert set(written.files) == {"model.int8.onnx"}
    assert open_bundle(tmp_path / "new").read("model.int8.onnx") == b"12"
    with pytest.raises(ConfigError, match="exists already"):
        write_bundle(tmp_path / "new", card, {})


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "model.int8.onnx"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.int8\.onnx is damaged: SHA-256"):
        open_bundle(folder).read("model.int8.onnx")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.int8.onnx").unlink()
    with pytest.raises(ModelError, match=r"cannot read model\.int8\.onnx"):
        open_bundle(folder).read("model.int8.onnx")
    with pytest.raises(ModelError, match=r"has no notes\.txt"):
        open_bundle(folder).read("notes.txt")


def test_what_is_no_bundle(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no such bundle.*canvas"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "text.digitcam").write_text("hello")
    with pytest.raises(ModelError, match="neither a folder nor a zip"):
        open_bundle(tmp_path / "text.digitcam")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"cannot read card\.json"):
        open_bundle(tmp_path / "empty")
    card = json.loads((folder / "card.json").read_bytes())
    (folder / "card.json").write_text(json.dumps({**card, "colour": "red"}))
    with pytest.raises(ModelError, match=r"card\.json: not a model card: .*colour"):
        open_bundle(folder)
