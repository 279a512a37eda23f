"""Faults as a user has them, each found and told with its mend."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from machine import free_port, hidden

from digitcam.core.bundle import SHIPPED
from digitcam.core.errors import ConfigError, ModelError, SinkError, SourceError
from digitcam.edge import secret
from digitcam.edge.board import Board
from digitcam.edge.config import ConfigFile, RunConfig
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.doctor import Check, Finding, examine, exit_code, machine, parts, written_to
from digitcam.edge.doctor.bounded import run

WAIT_S = 30
MACHINE = ["python", "numpy", "memory", "temperature", "power", "clock", "disk"]


# The whole


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def script(folder: Path, name: str, text: str) -> None:
    write(folder / name, f"#!/bin/sh\n{text}\n").chmod(0o755)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A Raspberry Pi with 512 MB that is well."""
    root = tmp_path / "root"
    write(root / "proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0\0")
    meminfo = "MemTotal:  400000 kB\nMemAvailable:  300000 kB\nCmaTotal:  65536 kB\nCmaFree:  50000 kB\n"
    write(root / "proc/meminfo", meminfo)
    write(root / "sys/class/thermal/thermal_zone0/temp", "51000\n")
    write(root / "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(root / "run/systemd/timesync/synchronized", "")
    script(tmp_path / "bin", "vcgencmd", "echo throttled=0x0")
    return Board(root, str(tmp_path / "bin"))


def test_a_machine_that_is_well(board: Board, tmp_path: Path) -> None:
    config = write(tmp_path / "run.toml", 'source = "demo:7"\n')
    found = list(examine(ConfigFile(config), board))
    assert [(f.check, f.state, f.mend) for f in found] == [
        (name, "ok", "") for name in ("configuration", *MACHINE, "engine", "camera", "broker")
    ]
    assert exit_code(found) == 0
    said = {f.check: f.found for f in found}
    assert said["memory"] == "307 of 410 MB free, CMA 51 of 67 MB"
    assert said["engine"] == "canvas, int8.tflite: 5 of 5 golden inputs read as at export"
    assert said["camera"] == "demo:7: 640x320"
    assert found[4].line == "ok    temperature: 51.0 °C"


def test_what_is_wrong_first_is_the_exit_code(board: Board, tmp_path: Path) -> None:
    port = free_port()
    text = (
        f'source = "{tmp_path}/none.mp4"\nmodel = "nowhere"\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\ntls = false\n'
    )
    config = write(tmp_path / "run.toml", text)
    found = [finding for finding in examine(ConfigFile(config), board) if finding.state != "ok"]
    assert [(f.check, f.state, f.exit_code) for f in found] == [
        ("engine", "fail", 3),
        ("camera", "fail", 4),
        ("broker", "fail", 5),
    ]
    assert exit_code(found) == 3 and exit_code(found[1:]) == 4 and exit_code(found[2:]) == 5
    assert all(f.mend for f in found)
    assert found[0].line.startswith("fail  engine: nowhere: no such bundle: give a folder")
    assert "No such file" in found[1].found and "cannot reach the broker" in found[2].found
    assert found[0].record.keys() == {"check", "state", "found", "mend"}


def test_of_a_bad_configuration_only_the_machine_is_examined(board: Board, tmp_path: Path) -> None:
    config = write(tmp_path / "run.toml", "soruce = 'demo:'\n")
    first, *rest = examine(ConfigFile(config), board)
    assert (first.check, first.state, first.exit_code) == ("configuration", "fail", 2)
    assert str(config) in first.found and "soruce" in first.found and first.mend
    assert [f.check for f in rest] == MACHINE
    assert exit_code([first, *rest]) == 2


def test_a_source_given_wins_over_the_files(board: Board, tmp_path: Path) -> None:
    config = write(tmp_path / "run.toml", 'source = "picamera2://0"\n')
    for path, named in ((config, str(config)), (None, "no file given: source demo:7")):
        said = {f.check: f.found for f in examine(ConfigFile(path, {"source": "demo:7"}), board)}
        assert (said["configuration"], said["camera"]) == (named, "demo:7: 640x320")


def test_warnings_are_no_exit_code() -> None:
    assert exit_code([Finding("clock", "warn", "unknown", "mend it", 7)]) == 0


# Checks that do not come back


def test_what_hangs_is_told_and_the_rest_is_done() -> None:
    checks = [
        Check("hangs", partial(time.sleep, 600), "unplug it", 4),
        Check("fine", partial(Finding, "fine", "ok", "well"), "", 0),
    ]
    hung, other = run(checks, 1)
    assert hung == Finding("hangs", "fail", "no answer in 1 s", "unplug it", 4)
    assert other.check == "fine"  # and well, if its process could start within that second


def test_what_dies_is_told_and_the_rest_is_done() -> None:
    fine = Finding("fine", "ok", "well")
    checks = [
        Check("fine", partial(Finding, *fine), "", 0),
        Check("dies", os.abort, "install it anew", 3),
        Check("lacks", partial(signal.raise_signal, signal.SIGILL), "another wheel", 3),
        Check("leaves", partial(os._exit, 9), "install it anew", 3),
        Check("raises", partial(int, "x"), "say so", 1),
        Check("refuses", partial(parts.engine, "nowhere", None), "name another", 1),
        Check("fine", partial(Finding, *fine), "", 0),
    ]
    found = list(run(checks, 120))
    assert found[0] == found[-1] == fine
    assert found[1] == Finding("dies", "fail", "the check died of SIGABRT", "install it anew", 3)
    assert found[2].found == "the check died of SIGILL: a library uses what this processor lacks"
    assert found[3] == Finding("leaves", "fail", "the check ended with exit code 9", "install it anew", 3)
    assert found[4].found.startswith("ValueError: invalid literal") and found[4].exit_code == 1
    assert (found[5].state, found[5].mend, found[5].exit_code) == ("fail", "name another", ModelError.exit_code)


# The machine


@pytest.mark.parametrize(
    ("version", "processor", "bits", "state", "says"),
    [
        ((3, 10), "x86_64", 64, "ok", "Python 3.10, 64-bit, x86_64"),
        ((3, 13), "aarch64", 64, "ok", "Python 3.13, 64-bit, aarch64"),
        ((3, 9), "aarch64", 64, "fail", "Python 3.9"),
        ((3, 14), "aarch64", 64, "warn", "not tried"),
        ((3, 11), "aarch64", 32, "fail", "this one is, though processor and kernel are not"),
        ((3, 11), "armv7l", 32, "fail", "no wheels of the engines for a 32-bit system"),
        ((3, 11), "riscv64", 64, "fail", "wheels for x86_64 and aarch64 only"),
    ],
)
def test_python(version: tuple[int, int], processor: str, bits: int, state: str, says: str) -> None:
    found = machine.python(version, processor, bits)
    assert found.state == state and says in found.found and bool(found.mend) == (state != "ok")


def install(place: Path, name: str, version: str) -> None:
    write(place / f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(place / name / "__init__.py", "")


def test_this_numpy() -> None:
    found = machine.numpy("demo:")
    assert found.state == "ok" and found.found.startswith(np.__version__)


@pytest.mark.parametrize(
    ("ours", "theirs", "sees_system", "state", "says", "mend"),
    [
        # A venv with --system-site-packages: apt's numpy alone; another of its own that fits; one that does not.
        (None, "1.24.2", True, "ok", "1.24.2, with picamera2 in {system}", ""),
        ("1.26.4", "1.24.2", True, "ok", "1.26.4, 1.24.2 in {system} unused, with picamera2 in {system}", ""),
        ("2.2.4", "2.1.0", True, "ok", "2.2.4, 2.1.0 in {system} unused, with picamera2 in {system}", ""),
        ("1.26.4", "2.2.4", True, "ok", "1.26.4, 2.2.4 in {system} unused, with picamera2 in {system}", ""),
        ("2.2.4", "1.24.2", True, "fail", "was compiled against 1.24.2", "pip install 'numpy<2'"),
        ("2.2.4", "1.24.2", False, "fail", "picamera2 is in {system}, where {venv} does not look", "pyvenv.cfg"),
        ("2.2.4", None, True, "fail", "no picamera2", "sudo apt install python3-picamera2"),
    ],
)
def test_numpy_and_picamera2(
    ours: str | None, theirs: str | None, sees_system: bool, state: str, says: str, mend: str, tmp_path: Path
) -> None:
    venv, system = tmp_path / "venv", tmp_path / "system"
    site = venv / "site-packages"
    if ours:
        install(site, "numpy", ours)
    if theirs:
        install(system, "numpy", theirs)
        install(system, "picamera2", "0.3.19")
    paths = [str(site), str(system)] if sees_system else [str(site)]
    found = machine.numpy("picamera2://0", paths, system, venv)
    assert (found.state, found.exit_code) == (state, 2 if state == "fail" else 0)
    assert says.format(system=system, venv=venv) in found.found and mend in found.mend
    # Another source does not mind.
    assert machine.numpy("demo:", paths, system, venv).state == "ok"


def test_no_numpy_at_all(tmp_path: Path) -> None:
    assert machine.numpy("demo:", [str(tmp_path)], tmp_path, tmp_path).state == "fail"


@pytest.mark.parametrize(
    ("available_kib", "cma_free_kib", "source", "state"),
    [
        (300000, 50000, "picamera2://0", "ok"),
        (146000, 50000, "demo:", "warn"),  # 149.5 MB
        (147000, 50000, "demo:", "ok"),  # 150.5 MB
        (300000, 31000, "picamera2://0", "warn"),  # 31.7 MB
        (300000, 32000, "picamera2://0", "ok"),  # 32.8 MB
        (300000, 0, "v4l2:///dev/video0", "ok"),
    ],
)
def test_memory(available_kib: int, cma_free_kib: int, source: str, state: str, board: Board) -> None:
    cma = f"CmaTotal:  65536 kB\nCmaFree:  {cma_free_kib} kB\n"
    write(board.root / "proc/meminfo", f"MemTotal:  400000 kB\nMemAvailable:  {available_kib} kB\n{cma}")
    found = machine.memory(board, source)
    assert found.state == state and bool(found.mend) == (state == "warn") and " of 67 MB" in found.found


@pytest.mark.parametrize(("millidegrees", "state"), [("79900", "ok"), ("80000", "warn")])
def test_temperature(millidegrees: str, state: str, board: Board) -> None:
    write(board.root / "sys/class/thermal/thermal_zone0/temp", millidegrees)
    found = machine.temperature(board)
    assert found.state == state and found.found == f"{millidegrees[:2]}.{millidegrees[2]} °C"


@pytest.mark.parametrize(
    ("bits", "says", "mend"),
    [
        ("0x50005", "now: under-voltage, throttled", "supply"),
        ("0x50000", "since it started: under-voltage, throttled", "supply"),
        ("0x80008", "now: soft temperature limit", "cool it"),
        ("0xe0002", "now: clock capped; since it started: throttled, soft temperature limit", "cool it"),
    ],
)
def test_power(bits: str, says: str, mend: str, board: Board, tmp_path: Path) -> None:
    script(tmp_path / "bin", "vcgencmd", f"echo throttled={bits}")
    found = machine.power(board)
    assert (found.state, found.found) == ("warn", says) and mend in found.mend


def test_power_that_cannot_be_asked(board: Board, tmp_path: Path) -> None:
    script(tmp_path / "bin", "vcgencmd", "echo VCHI initialization failed; exit 255")
    assert machine.power(board).state == "warn" and "video" in machine.power(board).mend
    assert "raspi-utils" in machine.power(Board(board.root, "")).mend
    assert machine.power(Board(tmp_path / "elsewhere", "")).state == "ok"


@pytest.mark.parametrize(("says", "state"), [("yes", "ok"), ("no", "warn"), ("", "warn")])
def test_clock(says: str, state: str, tmp_path: Path) -> None:
    script(tmp_path / "bin", "timedatectl", f"echo {says}")
    found = machine.clock(Board(tmp_path, str(tmp_path / "bin")))
    assert found.state == state and bool(found.mend) == (state == "warn")


def test_disk(tmp_path: Path) -> None:
    assert machine.disk(Board(tmp_path), [tmp_path / "not" / "yet.csv"]).state == "ok"
    assert machine.disk(Board(tmp_path)).found.startswith("digitcam writes nothing")
    # /proc has no space at all.
    worst = machine.disk(Board(tmp_path), [tmp_path, Path("/proc/digitcam"), tmp_path])
    assert (worst.state, worst.exit_code) == ("fail", 5) and worst.found.startswith("/proc/digitcam: 0 MB free")


def test_a_disk_where_this_user_may_not_look(tmp_path: Path) -> None:
    history = tmp_path / "history.db"
    with hidden(tmp_path):
        found = machine.disk(Board(tmp_path), [history])
    assert found.state == "warn" and found.found == f"{history}: this user may not look there"
    assert found.mend == "sudo digitcam doctor"


@pytest.mark.parametrize(
    ("free_mb", "read_only", "allowed", "state", "says"),
    [
        (5000.0, False, True, "ok", "card: 5000 MB free"),
        (199.0, False, True, "warn", "card: 199 MB free"),
        (0.5, False, True, "fail", "full"),
        (5000.0, True, True, "fail", "read-only"),
        (5000.0, False, False, "warn", "this user may not write there"),
    ],
)
def test_space(free_mb: float, read_only: bool, allowed: bool, state: str, says: str) -> None:
    found = machine.judged_space("card", free_mb, read_only, allowed)
    assert found.state == state and says in found.found and bool(found.mend) == (state != "ok")
    assert found.exit_code == (SinkError.exit_code if state == "fail" else 0)


def test_what_a_configuration_writes_to() -> None:
    class Table(msgspec.Struct):
        file: str | None = None
        folder: str | None = None
        host: str = "h"

    class Config(msgspec.Struct):
        source: str
        history: Table
        hard_frames: Table
        mqtt: Table | None = None

    config = Config("demo:", Table(file="/data/h.sqlite"), Table(folder="/run/hard"))
    assert written_to(config) == [Path("/data/h.sqlite"), Path("/run/hard")]
    assert written_to(RunConfig()) == []


# The network


def test_a_network_that_is_damaged(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "bundle"))
    (bundle / "model.int8.tflite").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="is damaged"):
        parts.engine(str(bundle), None)


def test_a_format_of_choice() -> None:
    found = parts.engine("canvas", "fp32.onnx")
    assert (found.state, found.found) == ("ok", "canvas, fp32.onnx: 5 of 5 golden inputs read as at export")


# The camera


@contextmanager
def streamer(pictures: list[tuple[int, int]]) -> Iterator[str]:
    """Serve grey pictures of these sizes (width, height) as MJPEG, then no more; give the address."""
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for width, height in pictures:
                picture = cv2.imencode(".jpg", np.full((height, width, 3), 128, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + picture + b"\r\n")
                except OSError:
                    return
                if gone.wait(0.05):
                    return
            gone.wait(WAIT_S)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://user:secret@127.0.0.1:{server.server_port}/?token=hidden"
        finally:
            gone.set()
            server.shutdown()
            thread.join()


def test_a_camera_that_delivers_and_keeps_its_secrets() -> None:
    with streamer([(64, 48)] * 400) as uri:
        found = parts.camera(uri)
    assert found.state == "ok" and ": 64x48, " in found.found and found.found.endswith(" frames/s")
    assert "secret" not in found.found and "hidden" not in found.found


def test_a_camera_that_freezes() -> None:
    with streamer([(64, 48)] * 3) as uri:
        found = parts.camera(f"{uri}#stall_s=30", wait_s=2)
    assert found.state == "warn" and found.mend
    assert "of 3 frames in 2 s" in found.found or "it stopped after 3 frames" in found.found


def test_a_camera_that_gives_nothing() -> None:
    with streamer([]) as uri, pytest.raises(SourceError, match=r"no frame|gives no video|no frame in 2 s") as caught:
        parts.camera(f"{uri}#stall_s=0.5", wait_s=2)
    assert "secret" not in str(caught.value)


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no /dev/video99: plug the camera in"):
        parts.camera("v4l2:///dev/video99", wait_s=0.5)
    with pytest.raises(SourceError, match="cannot connect"):
        parts.camera(f"http://127.0.0.1:{free_port()}/", wait_s=0.5)
    with pytest.raises(ConfigError, match="not known"):
        parts.camera("ftp://host/x")


def test_images_and_folders(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((30, 40), np.uint8))
    assert parts.camera(str(tmp_path / "1.png")) == Finding("camera", "ok", f"{tmp_path}/1.png: 40x30")
    (tmp_path / "0.png").write_bytes(b"rubbish")
    found = parts.camera(str(tmp_path))
    assert found.state == "warn" and found.found == f"{tmp_path}: 40x30, 1 could not be read" and found.mend
    found = parts.camera(str(tmp_path / "2.png"))
    assert (found.state, found.exit_code) == ("fail", 4) and found.mend.startswith("name an image, a video or a folder")
    # Nothing has to come into a folder soon.
    waited = parts.camera(f"watch:{tmp_path}", wait_s=0.3)
    assert waited.state == "warn" and "no new image in 0.3 s" in waited.found and waited.mend


def test_a_source_that_never_answers_is_bounded(tmp_path: Path) -> None:
    # Opening a pipe that nobody writes to waits in C for ever, as a driver may.
    os.mkfifo(tmp_path / "pipe.png")
    (found,) = run([Check("camera", partial(parts.camera, f"{tmp_path}/pipe.png", 1.0), "see it", 4)], 4)
    assert found == Finding("camera", "fail", "no answer in 4 s", "see it", 4)


# The broker


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mqtt]:
    """A broker that knows `edge`; the configuration with which it is let in."""
    folder, port = tmp_path_factory.mktemp("mosquitto"), free_port()
    programs = [
        shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("mosquitto", "mosquitto_passwd")
    ]
    if None in programs:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "mosquitto is not installed: apt-get install it"
        )
    server, passwd = map(str, programs)
    (folder / "passwords").touch(0o600)
    subprocess.run([passwd, "-b", folder / "passwords", "edge", "edge pass"], check=True)
    (folder / "secret").write_text("edge pass\n")
    (folder / "wrong").write_text("edge\n")
    lines = ["user root", "allow_anonymous false", f"password_file {folder}/passwords", f"listener {port} 127.0.0.1"]
    conf = write(folder / "conf", "\n".join(lines) + "\n")
    with subprocess.Popen([server, "-v", "-c", conf], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "running" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Mqtt(host="127.0.0.1", port=port, username="edge", password_file=str(folder / "secret"), tls=False)
        process.terminate()


def test_a_broker_that_lets_us_in(mosquitto: Mqtt) -> None:
    found = parts.broker(mosquitto)
    assert found == Finding("broker", "ok", f"mqtt://127.0.0.1:{mosquitto.port}: let us in as edge")
    assert parts.broker(None).state == "ok"


def test_a_login_sent_in_clear_over_the_network_is_a_warning(mosquitto: Mqtt) -> None:
    # All of 127.0.0.0/8 is this machine; digitcam does not know that of this one.
    try:
        socket.create_server(("127.1", 0)).close()
    except OSError:
        pytest.skip("no 127.1 here")
    found = parts.broker(msgspec.structs.replace(mosquitto, host="127.1"))
    assert found.state == "warn" and found.found.endswith("unencrypted") and "mqtt.tls" in found.mend


def test_a_broker_that_refuses(mosquitto: Mqtt) -> None:
    wrong = str(Path(mosquitto.password_file or "").with_name("wrong"))
    with pytest.raises(SinkError, match=r"refuses the login: Not authorized: check mqtt\.username and "):
        parts.broker(msgspec.structs.replace(mosquitto, password_file=wrong))
    with pytest.raises(ConfigError, match=r"cannot read mqtt\.password_file"):
        parts.broker(msgspec.structs.replace(mosquitto, password_file="/nowhere"))
    with pytest.raises(SinkError, match="cannot reach the broker"):
        parts.broker(msgspec.structs.replace(mosquitto, port=free_port()))


def test_a_password_that_this_user_may_not_read(mosquitto: Mqtt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK)
    expected = f"not asked: this user may not read {mosquitto.password_file}"
    assert parts.broker(mosquitto) == Finding("broker", "warn", expected, "sudo digitcam doctor")


def test_the_broker_is_asked_while_the_service_is_stopped(
    mosquitto: Mqtt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(secret, "FOLDER", f"{Path(mosquitto.password_file or '').parent}/")
    of_service = "/run/credentials/digitcam.service/secret"
    assert parts.broker(msgspec.structs.replace(mosquitto, password_file=of_service)).state == "ok"
