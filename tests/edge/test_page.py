"""The page in a real browser, headless Chromium, before a real `digitcam run` in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import pytest
from machine import free_port

from digitcam.core.reading import Reading, decode_reading
from digitcam.edge.sources.demo import DemoSource

WAIT_S = 90
"""How long anything may take at most on a busy machine."""


class Browser:
    """A Chromium with one tab, driven over the pipe of its DevTools protocol.

    errors, urls
        What the console called an error, and every address that was asked for.
    """

    def __init__(self, chromium: str, folder: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-sync",
            "--disable-extensions",
        ]
        flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}"]

        def pipes() -> None:
            # Chromium reads from descriptor 3 and writes to 4; by way of higher ones, of which none is 3.
            high = fcntl.fcntl(theirs_in, fcntl.F_DUPFD, 10), fcntl.fcntl(theirs_out, fcntl.F_DUPFD, 10)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [chromium, *flags, "--remote-debugging-pipe", "about:blank"],
            preexec_fn=pipes,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out = os.fdopen(ours_out, "wb", buffering=0)
        self._in = os.fdopen(ours_in, "rb")
        self.errors: list[str] = []
        self.urls: list[str] = []
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._session: str | None = None
        self._loaded = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        try:
            self._session = None
            self.call("Browser.close")
        finally:
            try:
                self._process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._thread.join(WAIT_S)
            self._out.close()
            self._in.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = len(self._answers) + 1
        self._answers[number] = SimpleQueue()
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        answer = self._answers[number].get(timeout=WAIT_S)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _listen(self) -> None:
        waiting = b""
        while part := self._in.read1(65536):  # type: ignore[attr-defined]
            waiting += part
            *messages, waiting = waiting.split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]].put(message)
                else:
                    self._note(message["method"], message["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["exception"].get("description", "an exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        self.after_load(lambda: self.call("Page.navigate", url=url))

    def after_load(self, act: Callable[[], object]) -> None:
        """Do what loads a page, and wait until it is there."""
        self._loaded.clear()
        act()
        assert self._loaded.wait(WAIT_S)

    def js(self, expression: str) -> Any:
        """Return what an expression gives; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait until an expression is true in the page, looking at each change of it; return its value."""
        watch = f"""new Promise((done, failed) => {{
            const look = () => {{ const value = {condition}; if (value) {{ watch.disconnect(); done(value) }} }};
            const watch = new MutationObserver(look);
            watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
            setTimeout(() => failed(new Error("not within {WAIT_S} s")), {WAIT_S * 900});
            look();
        }})"""
        return self.js(watch)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({selector!r}).click()")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse, from and to points in the window."""

        def mouse(kind: str, at: tuple[float, float]) -> None:
            held = {"button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **held)

        mouse("mousePressed", start)
        mouse("mouseMoved", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        mouse("mouseMoved", end)
        mouse("mouseReleased", end)

    def touch(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with a finger."""

        def finger(kind: str, *points: tuple[float, float]) -> None:
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])

        finger("touchStart", start)
        finger("touchMove", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
        finger("touchMove", end)
        finger("touchEnd")

    def key(self, name: str, shift: bool = False) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, modifiers=8 if shift else 0)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where in the window a point of the frame, in its pixels, stands."""
        box = self.js(
            "(() => { over.scrollIntoView({ block: 'center' }); const b = over.getBoundingClientRect(); "
            "return [b.left, b.top, b.width / over.viewBox.baseVal.width, b.height / over.viewBox.baseVal.height] })()"
        )
        return box[0] + x * box[2], box[1] + y * box[3]


class Runner:
    """A `digitcam run` in a process of its own, and the readings it gave."""

    def __init__(self, config: Path, **env: str) -> None:
        command = [sys.executable, "-m", "digitcam.cli", "run", "--config", str(config)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}
        )
        self.errors: list[str] = []
        self._readings: list[Reading] = []
        self._came = threading.Condition()
        self._ended = False
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()
        self.until(lambda reading: True)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._came:
                # The newest are enough: the demo gives hundreds a second.
                self._readings = [*self._readings[-999:], decode_reading(line)]
                self._came.notify_all()
        with self._came:
            self._ended = True
            self._came.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr
        self.errors += [line.decode() for line in self._process.stderr]

    def until(self, wanted: Callable[[Reading], bool]) -> Reading:
        """Wait for a reading from now on."""
        found: list[Reading] = []
        with self._came:
            last = self._readings[-1] if self._readings else None

            def look() -> bool:
                new = self._readings if last is None else [r for r in self._readings if r.ts > last.ts]
                found.extend(reading for reading in new if wanted(reading))
                return bool(found) or self._ended

            self._came.wait_for(look, WAIT_S)
        assert found, self.errors
        return found[0]

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        return code


@contextmanager
def running(config: Path, **env: str) -> Iterator[Runner]:
    runner = Runner(config, **env)
    try:
        yield runner
    finally:
        assert runner.stop() == 0, runner.errors


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs chromium: apt install chromium")
        pytest.skip("chromium is not installed")
    browser = Browser(found, tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.open("about:blank")
    chromium.errors.clear()
    chromium.urls.clear()
    return chromium


def outside(browser: Browser, url: str) -> list[str]:
    return [one for one in browser.urls if not one.startswith((url, "data:", "about:"))]


CONFIG = """\
# The meter under the stairs
source = "demo:3"  # drawn frames

# Left of the pipe
[[regions]]
name = "meter"  # the black one
box = [20, 10, 300, 200]  # px

[regions.rules]
window = 5

# The page
[web]
port = PORT
"""


def test_the_number_shown_is_that_of_the_frame(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "run.toml").write_text(f"source = 'demo:'\n[web]\nport = {port}\n")
    with running(tmp_path / "run.toml"):
        url = f"http://127.0.0.1:{port}/"
        browser.open(url)
        demo, right, seen = DemoSource("demo:"), 0, {-1}
        for _ in range(8):
            # All of one frame: it is taken between two changes of the page.
            wanted = (
                f"!{sorted(seen)}.includes(Number(over.dataset.seq ?? -1)) && document.querySelector('#view img').src"
            )
            browser.until(wanted)
            seq, number, read, good, sizes = browser.js(
                "[Number(over.dataset.seq), document.querySelector('.digits').value, "
                "document.querySelector('.reads text')?.textContent.split(' ')[0], "
                "document.querySelector('.say').className, "
                "[document.querySelector('#view img').naturalWidth, over.viewBox.baseVal.width]]"
            )
            seen.add(seq)
            truth = demo.draw(seq)[1]
            right += number == truth
            if good == "say good":
                assert number == read
            assert sizes == [640, 640]
        assert right >= 6
        browser.until("document.getElementById('state-pill').textContent === 'live'")
        browser.until("document.querySelector('#report dd') && document.querySelector('.plot path')")
        assert outside(browser, url) == []
        assert browser.errors == []


def test_regions_are_drawn_moved_and_turned_and_then_read(browser: Browser, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "run.toml"
    path.write_text(CONFIG.replace("PORT", str(port)))
    with running(path) as runner:
        url = f"http://127.0.0.1:{port}/"
        browser.open(url)
        browser.until("over.dataset.seq && document.querySelector('.edge')")
        browser.click("#edit")
        browser.until("!$('editor').hidden && document.querySelector('.chosen')")
        # The frame is 640x320: by its middle 100 to the right and 50 down, with the mouse.
        browser.drag(browser.place(170, 110), browser.place(270, 160))
        assert browser.js("regions[0].box.map(Math.round)") == [120, 60, 300, 200]
        # By its lower right corner 40 to the left and 20 up, with a finger.
        browser.touch(browser.place(420, 260), browser.place(380, 240))
        assert browser.js("regions[0].box.map(Math.round)") == [120, 60, 260, 180]
        # One more is drawn where there was nothing, and moved with the keys.
        browser.drag(browser.place(440, 20), browser.place(600, 120))
        browser.until("regions.length === 2 && document.activeElement !== null")
        browser.js("view[1].whole.focus()")
        browser.key("ArrowDown")
        browser.key("ArrowRight", shift=True)
        browser.key("]")
        x, y, width, height = browser.js("regions[1].box.map(Math.round)")
        assert (x, y, width, height) == (440, 21, 161, 100)
        browser.click("#save")
        assert browser.until("!$('told').hidden && $('told').textContent").startswith("Saved")
        assert browser.js("$('editor').hidden && regions.length") == 2
        wanted = CONFIG.replace("PORT", str(port)).replace("[20, 10, 300, 200]", "[120, 60, 260, 180]")
        drawn = '\n[[regions]]\nname = "region-2"\nbox = [440, 21, 161, 100]\nturn = 1\n'
        assert path.read_text() == wanted.replace("window = 5\n", f"window = 5\n{drawn}")
        # The runner reads them from now on, and the page shows both.
        runner.until(lambda reading: reading.region == "region-2")
        inside = runner.until(lambda reading: reading.region == "meter" and bool(reading.number))
        # What is read there lies there, though a digit that the region cuts through may reach out of it.
        x, y, width, height = inside.box
        assert x < 380 and x + width > 120
        assert y < 240 and y + height > 60
        browser.until("document.querySelectorAll('.number').length === 2")
        # A removed one is gone.
        browser.click("#edit")
        browser.until("!$('editor').hidden")
        browser.js("choose(1)")
        browser.click("#remove")
        browser.click("#save")
        browser.until("$('editor').hidden && regions.length === 1")
        assert path.read_text() == wanted
        browser.until("document.querySelectorAll('.number').length === 1")
        assert outside(browser, url) == []
        assert browser.errors == []


def test_from_afar_only_with_the_token(browser: Browser, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "run.toml"
    (tmp_path / "token").write_text("a wooden spoon\n")
    path.write_text(
        f"[rules]\nwindow = 1\nneeded = 1\n[web]\nhost = '0.0.0.0'\nport = {port}\ntoken_file = '{tmp_path}/token'\n"
    )
    with running(path) as runner:
        browser.open(f"http://127.0.0.1:{port}/")
        assert browser.js("document.querySelector('.digits')") is None

        def log_in(token: str) -> None:
            browser.js(f"document.querySelector('#token').value = '{token}'")
            browser.after_load(lambda: browser.js("document.querySelector('button').click()"))

        log_in("a wooden fork")
        assert browser.js("document.querySelector('[role=alert]').textContent") == "That is not the token."
        log_in("a wooden spoon")
        browser.until("over.dataset.seq")
        assert browser.js("document.cookie") == ""
        # Whoever is in may say what number stands.
        browser.js("document.querySelector('.number input').value = '77'")
        browser.js("document.querySelector('.number form').requestSubmit()")
        assert browser.until("document.querySelector('.number details p').textContent").startswith("77 is trusted")
        browser.until("$('events').textContent.includes('77 is trusted')")
    assert runner.errors.count("digitcam: the page refused a wrong token from 127.0.0.1\n") == 1


def test_the_page_waits_while_the_runner_starts_anew(browser: Browser, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "run.toml"
    path.write_text(f"[web]\nport = {port}\n")
    with running(path):
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until("$('state-pill').textContent === 'live'")
    browser.until("$('state-pill').textContent.startsWith('not reachable')")
    seen = browser.js("seen")
    with running(path):
        browser.until(f"seen !== {seen!r} && $('state-pill').textContent === 'live'")


def test_a_frame_that_stays_the_last_is_seen_by_who_comes_later(browser: Browser, tmp_path: Path) -> None:
    image, truth = DemoSource("demo:3").draw(0)
    folder, port, enough = tmp_path / "frames", free_port(), threading.Event()
    folder.mkdir()
    config = tmp_path / "run.toml"
    config.write_text(f'source = "watch:{folder}"\nmodel = "canvas"\n[web]\nport = {port}\n')

    def drop() -> None:
        # Only what comes once the folder is watched is read.
        for count in range(1000):
            if enough.wait(0.3):
                return
            cv2.imwrite(str(tmp_path / "part.png"), image)
            (tmp_path / "part.png").rename(folder / f"{count}.png")

    feeder = threading.Thread(target=drop)
    feeder.start()
    with running(config):
        enough.set()
        feeder.join()
        browser.open(f"http://127.0.0.1:{port}/")
        assert browser.until("document.querySelector('#view img').naturalWidth") == image.shape[1]
        assert truth in browser.js("document.querySelector('#numbers').textContent")
        assert browser.errors == []


def test_on_a_phone_nothing_sticks_out_and_all_can_be_touched(browser: Browser, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "run.toml"
    regions = "".join(
        f"[[regions]]\nname = '{name}'\nbox = [{x}, 0, 0.5, 1]\n" for name, x in (("gas", 0), ("water", 0.5))
    )
    config.write_text(f"[rules]\nwindow = 1\nneeded = 1\n{regions}[web]\nport = {port}\n")
    with running(config):
        try:
            for width in (320, 390):
                size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
                browser.call("Emulation.setDeviceMetricsOverride", **size)
                browser.open(f"http://127.0.0.1:{port}/")
                browser.until("[...document.querySelectorAll('details')].some(one => !one.hidden)")
                browser.js(
                    "document.querySelectorAll('details').forEach(one => { one.open = true }); $('edit').click()"
                )
                browser.until("!$('editor').hidden")
                assert browser.js("document.documentElement.scrollWidth") == width
                small = browser.js(
                    "[...document.querySelectorAll('button, input, select, summary')].filter(one => one.offsetParent)"
                    ".map(one => [one.id || one.tagName, one.offsetWidth, one.offsetHeight])"
                )
                assert len(small) >= 12
                assert [one for one in small if min(one[1:]) < 44 or one[2] > 60] == []
        finally:
            browser.call("Emulation.clearDeviceMetricsOverride")
        assert browser.errors == []
