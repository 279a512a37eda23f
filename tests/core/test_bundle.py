import hashlib
import json
import os
import shutil
import stat
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.archive import Archive, archive_of, is_plain
from digitcam.core.bundle import SHIPPED, SIGNATURE, open_bundle, write_bundle
from digitcam.core.card import encode_card
from digitcam.core.errors import ConfigError, ModelError, SinkError
from digitcam.core.formats import FORMATS
from digitcam.core.packing import check_signable, pack, put_signature, unpack


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
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"weights\.pt: is a checkpoint: make a bundle of it: digitcam export "):
        open_bundle(tmp_path / "weights.pt")
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


# Verified as a whole


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit_files(folder: Path, **changes: str | None) -> None:
    """Change the SHA-256 that a card lists, by file name with `_` for a dot; None takes the file off the list."""
    path = folder / "card.json"
    card = json.loads(path.read_bytes())
    for key, sha256 in changes.items():
        card["files"][key.replace("_", ".")] = sha256
    card["files"] = {name: sha256 for name, sha256 in card["files"].items() if sha256 is not None}
    path.write_text(json.dumps(card))


def small(folder: Path) -> Path:
    """Write a bundle of two small files."""
    write_bundle(folder, open_bundle("canvas").card, {"model.int8.onnx": b"12", "golden.npz": b"3"})
    return folder


def test_what_the_card_lists_is_all_there(folder: Path) -> None:
    bundle = open_bundle(folder)
    bundle.verify()
    golden = folder / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    # Only a look at every file finds it: the networks are whole.
    bundle.read("model.int8.onnx")
    with pytest.raises(ModelError, match=r"golden\.npz is damaged: SHA-256"):
        bundle.verify()


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "model.int8.onnx.bak"])
def test_what_the_card_does_not_list_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_bytes(b"1")
    with pytest.raises(ModelError, match=f"its card does not list {name}: remove it"):
        open_bundle(folder).verify()
    with pytest.raises(ModelError, match="does not list"):
        unpack(open_bundle(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_card_whose_list_was_shortened(folder: Path) -> None:
    edit_files(folder, model_int8_onnx=None)
    assert "int8.onnx" not in open_bundle(folder).formats
    with pytest.raises(ModelError, match=r"its card does not list model\.int8\.onnx"):
        open_bundle(folder).verify()


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/b", "a\\b", ".hidden", "..", "", "a\0b", "card.json", "card.json.sig", "é"]
)
def test_a_card_that_lists_what_is_no_file_of_a_bundle(folder: Path, name: str) -> None:
    path = folder / "card.json"
    card = json.loads(path.read_bytes())
    path.write_text(json.dumps({**card, "files": {**card["files"], name: "0" * 64}}))
    with pytest.raises(ModelError, match=r"card\.json: field 'files' has .*, no name of a bundle's file"):
        open_bundle(folder)


@given(st.text(st.characters(max_codepoint=0x17F), max_size=12) | st.from_regex(r"[.\w/\\-]{1,8}", fullmatch=True))
def test_a_plain_name_stays_in_its_folder(name: str) -> None:
    if is_plain(name):
        path = Path("/folder") / name
        assert Path(os.path.normpath(path)) == path and path.parent == Path("/folder") and path.name == name
        assert "\\" not in name and name.isascii() and not name.startswith(".")


# Folders and archives


def test_packed_and_unpacked_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    # A card that digitcam would have written otherwise is kept to the byte, as a signature is over these bytes.
    (folder / "card.json").write_text(json.dumps(json.loads((folder / "card.json").read_bytes())))
    (folder / SIGNATURE).write_bytes(b"signed")
    pack(open_bundle(folder), tmp_path / "one.digitcam")
    unpack(open_bundle(tmp_path / "one.digitcam"), tmp_path / "new" / "out")
    assert contents(tmp_path / "new" / "out") == contents(folder)
    # From other files with other times the same archive.
    pack(open_bundle(tmp_path / "new" / "out"), tmp_path / "two.digitcam")
    assert (tmp_path / "two.digitcam").read_bytes() == (tmp_path / "one.digitcam").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "new", "one.digitcam", "two.digitcam"}


def test_what_an_interrupted_call_left_is_removed(tmp_path: Path) -> None:
    bundle = open_bundle(small(tmp_path / "in"))
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "rubble").write_bytes(b"1")
    unpack(bundle, tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {"card.json", "golden.npz", "model.int8.onnx"}
    (tmp_path / "one.digitcam.part").write_bytes(b"rubble")
    pack(bundle, tmp_path / "one.digitcam")
    open_bundle(tmp_path / "one.digitcam").verify()
    assert not list(tmp_path.glob("*.part"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    bundle = open_bundle(small(tmp_path / "in"))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for write in (pack, unpack):
        for path in (tmp_path / "in", tmp_path / "in" / "card.json", tmp_path / "dangling"):
            with pytest.raises(ConfigError, match="exists already"):
                write(bundle, path)


@pytest.mark.parametrize("write", [pack, unpack])
def test_a_place_that_cannot_be_written(tmp_path: Path, write: object) -> None:
    bundle = open_bundle(small(tmp_path / "in"))
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(SinkError, match="file/out: cannot write: Not a directory"):
        (pack if write is pack else unpack)(bundle, tmp_path / "file" / "out")


def test_a_signature_is_put_beside_the_card(tmp_path: Path) -> None:
    folder, archive = small(tmp_path / "in"), tmp_path / "in.digitcam"
    pack(open_bundle(folder), archive)
    for path in (folder, archive):
        bundle = open_bundle(path)
        assert bundle.signature() is None
        check_signable(bundle, anew=False)
        put_signature(bundle, b"one")
        assert open_bundle(path).signature() == b"one"
        with pytest.raises(ConfigError, match="is signed already: give --anew"):
            check_signable(bundle, anew=False)
        check_signable(bundle, anew=True)
        put_signature(bundle, b"two")
        assert open_bundle(path).signature() == b"two"
        open_bundle(path).verify()
    with pytest.raises(ConfigError, match="canvas: came with digitcam: sign a copy"):
        check_signable(open_bundle("canvas"), anew=True)
    (folder / "golden.npz").write_bytes(b"4")
    with pytest.raises(ModelError, match="is damaged"):
        check_signable(open_bundle(folder), anew=True)


# Archives that must not be trusted


def archive_with(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    """Write a bundle of two small files as an archive, with more in it."""
    files = contents(small(path.with_name("made")))
    shutil.rmtree(path.with_name("made"))
    with zipfile.ZipFile(path, "w") as zipped:
        for name, data in (*files.items(), *entries):
            zipped.writestr(name, data)
    return path


def refused(archive: Path, say: str) -> None:
    """Expect an archive to be refused when it is opened, or else when it is unpacked, and nothing to be written."""
    # In a folder of its own, so that what `..` leads to is seen as well.
    place = archive.parent / "place" / "deeper"
    place.mkdir(parents=True)
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ModelError, match=say) as caught:
        unpack(open_bundle(archive), place / "out")
    assert "\n" not in str(caught.value)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../evil", "../../evil", "/tmp/evil", "sub/evil", "sub/", "..\\evil", "C:\\evil", "..", ".evil", "a\nb"]
)
def test_a_name_that_would_leave_the_folder(tmp_path: Path, name: str) -> None:
    archive = archive_with(tmp_path / "a.digitcam", (name, b"evil"))
    refused(archive, r"a\.digitcam: holds '.*', no plain file name: do not trust it")


def test_a_name_that_is_cut_at_a_zero_byte(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "a.digitcam", ("golden.npzXXX", b"evil"))
    archive.write_bytes(archive.read_bytes().replace(b"golden.npzXXX", b"golden.npz\0XX"))
    refused(archive, r"holds 'golden\.npz\\x00XX', no plain file name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFDIR])
def test_a_link_or_device(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    archive = archive_with(tmp_path / "a.digitcam", (info, b"/etc/passwd"))
    refused(archive, "holds 'link', a link or device: do not trust it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "a.digitcam", ("golden.npz", b"another"))
    refused(archive, r"holds 'golden\.npz' twice")


def test_a_file_the_card_does_not_list(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "a.digitcam", ("more", b"1"))
    refused(archive, "its card does not list more")


def test_a_file_that_is_not_the_listed_one(tmp_path: Path) -> None:
    files = contents(small(tmp_path / "in"))
    archive = tmp_path / "a.digitcam"
    archive.write_bytes(archive_of({**files, "golden.npz": b"4"}))
    refused(archive, r"golden\.npz is damaged: SHA-256 4b227777d4dd, the card says 4e07408562be")
    assert hashlib.sha256(b"4").hexdigest().startswith("4b227777d4dd")


def test_more_than_a_bundle_holds(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "a.digitcam")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as zipped, zipped.open("bomb", "w") as file:
        for _ in range(129):
            file.write(bytes(1 << 20))
    assert archive.stat().st_size < 1 << 20
    refused(archive, "would unpack to 129 MB, a bundle has at most 128 MB")


def test_more_than_was_announced(tmp_path: Path) -> None:
    size = (64 << 20) + 0x1234
    files = contents(small(tmp_path / "in"))
    archive = tmp_path / "a.digitcam"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            zipped.writestr(name, bytes(size) if name == "golden.npz" else data)
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", 1)))
    tracemalloc.start()
    refused(archive, r"cannot read golden\.npz: Bad CRC-32")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 12), (10, 14)])
def test_encrypted_or_packed_otherwise(tmp_path: Path, offset: int, value: int) -> None:
    # The flags and the method of the first file, where the central directory has them.
    archive = archive_with(tmp_path / "a.digitcam")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + offset] = value
    archive.write_bytes(data)
    refused(archive, "is encrypted or not deflated")


def test_a_file_too_large_in_a_folder(tmp_path: Path) -> None:
    folder = small(tmp_path / "in")
    with (folder / "golden.npz").open("wb") as file:
        file.truncate((128 << 20) + (1 << 20))
    with pytest.raises(ModelError, match=r"golden\.npz: has 129 MB, a bundle's file at most 128 MB"):
        open_bundle(folder).verify()


FILES = {"model.int8.onnx": bytes(range(40)), "golden.npz": b"golden"}


def bundle_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        card = write_bundle(Path(name) / "in", open_bundle("canvas").card, FILES)
    return archive_of({"card.json": encode_card(card), **FILES})


WHOLE = bundle_bytes()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 200))
def test_a_damaged_archive_is_refused_or_whole(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WHOLE[: len(WHOLE) - max(0, cut - 150)])
    for place, value in changes:
        data[min(place, len(data) - 1)] = value
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.digitcam"
        path.write_bytes(data)
        try:
            bundle = open_bundle(path)
            bundle.verify()
        except ModelError as error:
            assert str(error).startswith(str(path))
        else:
            assert {file: bundle.read(file) for file in bundle.card.files} == FILES


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}", fullmatch=True), st.binary(max_size=50)))
def test_an_archive_holds_what_was_put_in(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.digitcam"
        path.write_bytes(archive_of(files))
        archive = Archive(path)
        assert archive.names() == list(files)
        assert {name: archive.read(name) for name in files} == files
    assert archive_of(files) == archive_of(dict(files))


def test_a_full_disk_leaves_no_part_of_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new"

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError) as caught:
        write_bundle(path, open_bundle("canvas").card, {"model.int8.onnx": b"12"})
    told = "cannot write the bundle: No space left on device: make room or give another --out"
    assert str(caught.value) == f"{path}: {told}"
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_its_beginning_is_refused(tmp_path: Path) -> None:
    pack(open_bundle("canvas"), tmp_path / "whole.digitcam")
    path = tmp_path / "end.digitcam"
    path.write_bytes((tmp_path / "whole.digitcam").read_bytes()[-300_000:])
    with pytest.raises(ModelError) as caught:
        open_bundle(path)
    assert str(caught.value) == f"{path}: cannot read card.json: [Errno 22] Invalid argument: copy it again"
