"""`digitcam run` as a process, beside real brokers and clients."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from machine import free_port, status_of
from mosquitto import WAIT_S, Broker, Subscriber, make_broker, retained

STOP_S = 20
"""What the unit's TimeoutStopSec allows."""


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `digitcam run` in a folder."""
    command = [sys.executable, "-m", "digitcam.cli", "run", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(text: str) -> list[dict[str, Any]]:
    """Return readings, without what differs from run to run."""
    found = [json.loads(line) for line in text.splitlines()]
    return [{key: value for key, value in one.items() if key != "latency_ms"} for one in found]


def test_a_replay_gives_the_same_readings(tmp_path: Path) -> None:
    with running(tmp_path, "--source", "demo:3", "--frames", "5", "--record", "fault.tar") as first:
        out, _ = first.communicate(timeout=60)
    with running(tmp_path, "--source", "replay:fault.tar", "--model", "canvas") as again:
        replayed, err = again.communicate(timeout=60)
    assert (first.returncode, again.returncode) == (0, 0), err
    assert [one["seq"] for one in lines(out) if one["accepted"]]
    assert {one["seq"] for one in lines(out)} == set(range(5))
    assert lines(replayed) == lines(out)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = make_broker(tmp_path)
    process = made.start()
    (tmp_path / "run.toml").write_text(f"""
        [mqtt]
        host = "127.0.0.1"
        port = {made.plain}
        topic = "meter/one"
        username = "edge"
        password_file = "edge.secret"
        tls = false
        [history]
        file = "history.db"
        commit_s = 3600
    """)
    (tmp_path / "broker.pid").write_text(str(process.pid))
    yield made
    process.kill()
    process.wait(WAIT_S)


def rows(folder: Path) -> int:
    """Count the history's; there may be no file yet."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/history.db?mode=ro", uri=True)) as file:
            found: int = file.execute("SELECT count(*) FROM numbers").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    return found


def until_read(subscriber: Subscriber) -> None:
    while not subscriber.next()[0].endswith("/number"):
        pass


def test_on_sigterm_broker_and_history_do_not_wait_for_a_webhook_that_does_not_answer(
    broker: Broker, tmp_path: Path
) -> None:
    subscriber = Subscriber(broker, "meter/one")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = tmp_path / "run.toml"
        config.write_text(f'{config.read_text()}\n[webhook]\nurl = "http://127.0.0.1:{silent.getsockname()[1]}"\n')
        with running(tmp_path, "--config", "run.toml") as run:
            # Nobody reads the lines but a thread, lest the run wait for us.
            said = threading.Thread(target=run.communicate, daemon=True)
            said.start()
            until_read(subscriber)
            run.send_signal(signal.SIGTERM)
            while subscriber.next()[:2] != ("meter/one/status", b"offline"):
                pass
            still = threading.Event()
            while not rows(tmp_path):
                assert run.poll() is None
                still.wait(0.02)
            assert run.poll() is None
            assert run.wait(STOP_S) == 5
            said.join(WAIT_S)
    subscriber.close()
    assert retained(broker, "meter/one")["meter/one/status"] == b"offline"


def test_a_broker_that_hangs_keeps_no_history_waiting_and_not_the_service_manager(
    broker: Broker, tmp_path: Path
) -> None:
    subscriber, pid = Subscriber(broker, "meter/one"), int((tmp_path / "broker.pid").read_text())
    with running(tmp_path, "--config", "run.toml", "--source", "demo:") as run:
        until_read(subscriber)
        subprocess.run(["kill", "-STOP", str(pid)], check=True)
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=STOP_S)
        subprocess.run(["kill", "-CONT", str(pid)], check=True)
    assert run.returncode == 5
    assert err.splitlines()[-1].endswith("the broker has not confirmed the last messages in 10 s")
    assert rows(tmp_path) > 0
    subscriber.close()


def test_a_broker_that_refuses_the_login_ends_the_run(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "edge.secret").write_text("wrong\n")
    with running(tmp_path, "--config", "run.toml", "--log", "plain") as run:
        out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (5, "")
    refused = (
        f"digitcam: mqtt://127.0.0.1:{broker.plain}: the broker refuses the login: Not authorized: "
        "check mqtt.username and mqtt.password_file"
    )
    assert err.splitlines()[-1] == refused


def test_fifty_who_look_at_once_do_not_keep_it_from_reading(tmp_path: Path) -> None:
    port, frames, over = free_port(), 300, threading.Event()
    statuses: list[int] = []

    def look(path: str) -> None:
        while not over.is_set():
            if status := status_of(f"http://127.0.0.1:{port}{path}"):
                statuses.append(status)
            else:  # not there yet, or not any more
                over.wait(0.05)

    paths = ("/", "/frame.jpg", "/api/live", "/api/health", "/metrics")
    clients = [threading.Thread(target=look, args=(paths[number % 5],)) for number in range(50)]
    for client in clients:
        client.start()
    try:
        with running(tmp_path, "--source", "demo:", "--web", str(port), "--frames", str(frames)) as run:
            out, err = run.communicate(timeout=240)
    finally:
        over.set()
        for client in clients:
            client.join(60)
    assert run.returncode == 0, err
    assert {one["seq"] for one in lines(out)} == set(range(frames))
    assert statuses.count(200) > 50
    # 404: no frame yet; 503: more than are served at a time.
    assert set(statuses) <= {200, 204, 404, 503}
    assert "Traceback" not in err, err
