"""A payload: built from a configuration, a bundle and wheels, read and checked again."""

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from tinywheels import AARCH64, device_wheels, tiny_wheel

from digitcam.core.errors import ConfigError, ModelError, SourceError
from digitcam.edge.config import RunConfig, load_config
from digitcam.flash import device, payload
from digitcam.flash.ownwheel import own_wheel, repack
from digitcam.flash.payload import build_payload, payload_id, read_payload
from digitcam.flash.target import Target, extras_for, target_for
from digitcam.flash.wheels import gather

PI = Target("aarch64", "3.13")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digitcam's own, made once: it takes a while."""
    return own_wheel(tmp_path_factory.mktemp("own"))


@pytest.fixture
def config(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A camera and a broker; and digitcam's wheel made already."""
    monkeypatch.setattr(payload, "own_wheel", lambda folder: Path(shutil.copy(wheel, folder)))
    path = tmp_path / "meter.toml"
    path.write_text('source = "picamera2://0"\n[mqtt]\nhost = "broker.example.org"\n')
    return path


def own(folder: Path, *requires: str) -> Path:
    return tiny_wheel(folder, "digitcam", "0.1.0", *requires)


def names(folder: Path) -> list[str]:
    return sorted("-".join(path.name.split("-")[:2]) for path in folder.glob("*.whl"))


def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("source", "python", "system", "numpy"),
    [
        ("picamera2://0", "3.13", True, "2.2.4"),
        ("picamera2://0", "3.11", True, "1.24.2"),
        ("gst:videotestsrc", "3.10", True, None),
        ("v4l2:///dev/video0", "3.13", False, None),
    ],
)
def test_a_source_decides_what_is_taken_from_apt(source: str, python: str, system: bool, numpy: str | None) -> None:
    target = target_for(RunConfig(source=source), python=python)
    assert (target.system_packages, target.numpy) == (system, numpy)
    assert target_for(RunConfig(source=source), python=python, system_packages=False) == Target("aarch64", python)


def test_machines_and_pythons_without_wheels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"armv7l: .* aarch64 and x86_64 only: put a 64-bit system"):
        target_for(RunConfig(), machine="armv7l")
    with pytest.raises(ConfigError, match=r"Python 3\.9: digitcam runs on 3\.10 to 3\.13"):
        target_for(RunConfig(), python="3.9")
    with pytest.raises(ConfigError, match="--numpy"):
        target_for(RunConfig(source="picamera2://0"), python="3.12")
    assert target_for(RunConfig(source="picamera2://0"), python="3.12", numpy="1.26.4").numpy == "1.26.4"


def test_platforms_go_down_to_the_oldest_wheels() -> None:
    assert Target(glibc=19).platforms == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]


def test_extras_are_those_the_configuration_needs(tmp_path: Path) -> None:
    assert extras_for(RunConfig(), None) == ["litert"]
    assert extras_for(RunConfig(format="int8.onnx"), None) == ["onnx"]
    (tmp_path / "all.toml").write_text('[mqtt]\nhost = "b"\n[web]\n')
    assert extras_for(load_config(tmp_path / "all.toml"), "onnx") == ["onnx", "mqtt", "web"]
    with pytest.raises(ConfigError, match=r"--engine onnx: cannot run format = 'int8\.tflite'"):
        extras_for(RunConfig(format="int8.tflite"), "onnx")


def test_conditions_are_weighed_for_the_device_whatever_python_runs_here(tmp_path: Path) -> None:
    # Whichever Python runs this, pip judges one of the two otherwise than the device does.
    wheels = tmp_path / "wheels"
    asks = ('old; python_version < "3.13"', 'new; python_version >= "3.13"', 'pc; platform_machine == "x86_64"')
    digitcam = own(tmp_path, "base[more]", 'engine; extra == "litert"', 'other; extra == "onnx"')
    tiny_wheel(wheels, "base", "1.0", *asks, 'added; extra == "more"')
    for name in ("old", "new", "pc", "engine", "other", "added"):
        tiny_wheel(wheels, name, "1.0")
    found = into(tmp_path)
    gather(digitcam, ["litert"], PI, found, wheels)
    assert names(found) == ["added-1.0", "base-1.0", "engine-1.0", "new-1.0"]
    shutil.rmtree(found)
    found.mkdir()
    gather(digitcam, ["litert"], PI._replace(python="3.11"), found, wheels)
    assert names(found) == ["added-1.0", "base-1.0", "engine-1.0", "old-1.0"]


def test_numpy_of_apt_stays_and_the_rest_suits_it(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    digitcam = own(tmp_path, "numpy>=1.24", "opencv_python_headless>=4.8")
    for version in ("1.24.2", "2.2.4"):
        tiny_wheel(wheels, "numpy", version)
    tiny_wheel(wheels, "opencv_python_headless", "4.11.0", "numpy>=1.23")
    tiny_wheel(wheels, "opencv_python_headless", "4.12.0", "numpy>=2")
    found = into(tmp_path)
    gather(digitcam, ["litert"], Target(python="3.11", system_packages=True, numpy="1.24.2"), found, wheels)
    assert names(found) == ["opencv_python_headless-4.11.0"]


def test_a_missing_wheel_is_named(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    tiny_wheel(wheels, "engine", "1.0", tag="cp313-cp313-manylinux_2_28_x86_64")
    digitcam = own(tmp_path, "engine")
    with pytest.raises(ConfigError, match=r"^engine: no wheel for Python 3\.13 on aarch64 in .*wheels: "):
        gather(digitcam, [], PI, into(tmp_path), wheels)
    with pytest.raises(ConfigError, match=r"--wheels .*nowhere: no such folder"):
        gather(digitcam, [], PI, tmp_path / "into", tmp_path / "nowhere")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the network, and an empty cache."""
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def test_wheels_once_gathered_need_no_network(tmp_path: Path, index: Path) -> None:
    digitcam = own(tmp_path, "engine")
    tiny_wheel(index, "engine", "1.0", tag=AARCH64)
    found, said = into(tmp_path), []
    gather(digitcam, [], PI, found, note=said.append)
    tiny_wheel(index, "engine", "2.0", tag=AARCH64)
    gather(digitcam, [], PI, found, note=said.append)
    assert names(found) == ["engine-1.0"] and len(said) == 1
    gather(digitcam, [], PI, found, upgrade=True)
    assert names(found) == ["engine-1.0", "engine-2.0"]
    shutil.rmtree(index)
    gather(digitcam, [], PI, found)
    # One that was damaged is asked for again.
    (kept,) = (tmp_path / "cache").rglob("engine-2.0*.whl")
    kept.write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="engine"):
        gather(digitcam, [], PI, found)


def test_without_a_network_and_anything_kept_it_says_so(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}/simple")
        with pytest.raises(SourceError, match=r"^no network, and no wheels for Python 3\.13 on aarch64"):
            gather(own(tmp_path, "engine"), [], PI, into(tmp_path))


def test_a_payload_holds_all_and_is_what_the_installer_reads(tmp_path: Path, config: Path) -> None:
    wheels = device_wheels(tmp_path / "wheels")
    target = target_for(load_config(config))
    made = build_payload(tmp_path / "out", "canvas", config, target, wheels=wheels)
    folder = tmp_path / "out"
    assert made == read_payload(folder) and device.read_payload((folder / "payload.json").read_bytes())["id"] == made.id
    assert (made.model, made.requires.machine, made.requires.python) == ("canvas", "aarch64", "3.13")
    assert made.requires.system_packages
    expected = {"install.py", "digitcam.toml", "digitcam.service", "digitcam-trial.service", "requirements.txt"}
    assert {path for path in made.files if "/" not in path} == expected
    assert (folder / "digitcam.toml").read_bytes() == config.read_bytes()
    assert (folder / "install.py").read_bytes() == Path(device.__file__).read_bytes()
    # numpy is apt's; pip installs and is not installed.
    assert (folder / "requirements.txt").read_text().split() == [
        "ai-edge-litert==2.1.0",
        "click==8.3.0",
        "digitcam==0.1.0",
        "msgspec==0.20.0",
        "opencv-python-headless==4.12.0.88",
        "paho-mqtt==2.1.0",
        "protobuf==6.33.0",
    ]
    assert len(list((folder / "wheels").glob("pip-*.whl"))) == 1


def test_a_payload_is_made_again_only_when_it_differs(tmp_path: Path, config: Path) -> None:
    wheels, target = device_wheels(tmp_path / "wheels"), target_for(load_config(config))
    first = build_payload(tmp_path / "out", "canvas", config, target, wheels=wheels)
    inode = (tmp_path / "out" / "payload.json").stat().st_ino
    assert build_payload(tmp_path / "out", "canvas", config, target, wheels=wheels) == first
    assert (tmp_path / "out" / "payload.json").stat().st_ino == inode
    config.write_text(config.read_text() + "port = 1883\ntls = false\n")
    with pytest.raises(ConfigError, match=f"out: holds another payload, {first.id}: give --replace"):
        build_payload(tmp_path / "out", "canvas", config, target, wheels=wheels)
    second = build_payload(tmp_path / "out", "canvas", config, target, wheels=wheels, replace=True)
    assert second.id != first.id and read_payload(tmp_path / "out") == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meter.toml", "out", "wheels"]


def test_what_is_no_payload_is_not_replaced_and_a_failure_leaves_nothing(tmp_path: Path, config: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="mine: exists already and is no payload"):
        build_payload(tmp_path / "mine", "canvas", config, PI, replace=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    with pytest.raises(ConfigError, match="no wheel"):
        build_payload(tmp_path / "new" / "out", "canvas", config, PI, wheels=tmp_path / "mine")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A payload as far as reading goes."""
    folder = tmp_path / "small"
    (folder / "model").mkdir(parents=True)
    (folder / "install.py").write_text("a")
    (folder / "model" / "card.json").write_text("b")
    files = {
        "install.py": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "model/card.json": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
    }
    requires = {"machine": "aarch64", "python": "3.13", "system_packages": False}
    content = {"schema": 1, "id": payload_id(files), "digitcam": "0.1.0", "model": "m", "requires": requires}
    (folder / "payload.json").write_text(json.dumps({**content, "files": files}))
    return folder


def test_the_id_is_that_of_sorted_lines_as_sha256sum_writes_them(small: Path) -> None:
    paths = "sha256sum install.py model/card.json | LC_ALL=C sort | sha256sum | cut -c 1-12"
    found = subprocess.run(["sh", "-c", paths], cwd=small, capture_output=True, text=True, check=True).stdout
    assert read_payload(small).id == found.strip()


def swap(path: Path) -> None:
    """Put a link in place of a file, to the same content."""
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda folder: (folder / "install.py").write_text("x"), r"install\.py is damaged"),
        (lambda folder: (folder / "model" / "card.json").unlink(), r"model/card\.json is missing"),
        (lambda folder: (folder / "more").write_text("x"), "more is not listed"),
        (lambda folder: (folder / "link").symlink_to("/etc"), "link is not listed"),
        (lambda folder: swap(folder / "install.py"), r"install\.py is damaged: SHA-256 a link"),
        (lambda folder: (folder / "payload.json").unlink(), r"not a payload: payload\.json"),
        (lambda folder: (folder / "payload.json").write_text("{"), "not of a payload"),
    ],
)
def test_a_payload_that_was_changed_is_refused(small: Path, change: object, error: str) -> None:
    change(small)  # type: ignore[operator]
    with pytest.raises(ModelError, match=error):
        read_payload(small)


@pytest.mark.parametrize(("key", "value"), [("schema", 2), ("id", "0" * 12), ("further", 1)])
def test_a_payload_of_another_kind_is_refused(small: Path, key: str, value: object) -> None:
    content = json.loads((small / "payload.json").read_text())
    (small / "payload.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(ModelError, match=r"payload\.json"):
        read_payload(small)


def test_bundles_that_lie_are_refused(tmp_path: Path, config: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(Path(payload.__file__).parents[1] / "bundles" / "canvas", bundle)
    (bundle / "golden.npz").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"golden\.npz is damaged"):
        build_payload(tmp_path / "out", str(bundle), config, PI)
    card = json.loads((bundle / "card.json").read_text())
    card["files"] = {"../evil": "0" * 64}
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"card\.json: .*'\.\./evil'"):
        build_payload(tmp_path / "out", str(bundle), config, PI)
    assert not (tmp_path / "out").exists()


def test_an_installed_digitcam_is_packed_as_it_came(tmp_path: Path, wheel: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*map(str, pip), str(wheel)], check=True)
    (info,) = (tmp_path / "site").glob("digitcam-*.dist-info")
    again = repack(Distribution.at(info), tmp_path)
    assert again.name == wheel.name

    def contents(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}

    assert contents(again) == contents(wheel)
    assert {"digitcam/flash/units/digitcam.service", "digitcam/flash/units/digitcam-trial.service"} <= set(
        contents(again)
    )
    before = again.read_bytes()
    assert repack(Distribution.at(info), tmp_path).read_bytes() == before
    (tmp_path / "site" / "digitcam" / "cli.py").write_text("evil")
    with pytest.raises(ConfigError, match=r"cli\.py: is not what was installed"):
        repack(Distribution.at(info), tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--model", "canvas", "--config", "none.toml"], 2, "none.toml: cannot read the configuration"),
        (["--model", "nosuch", "--config", "meter.toml"], 3, "nosuch: no such bundle"),
    ],
)
def test_the_command_ends_with_one_line(tmp_path: Path, words: list[str], code: int, error: str) -> None:
    (tmp_path / "meter.toml").write_text('source = "demo:"\n')
    command = [sys.executable, "-m", "digitcam.cli", "payload", "--out", "out", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code and done.stderr.startswith(f"digitcam: {error}") and done.stderr.count("\n") == 1
