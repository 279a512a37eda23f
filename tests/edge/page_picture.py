"""Draw two counters, read them, and photograph the page, on a desk and on a phone.

`python tests/edge/page_picture.py edge` writes `page.png` and `page-phone.png` there.
"""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from test_page import Browser

from digitcam.core.arrays import UInt8Array
from digitcam.core.canvas import draw_glyphs, rng_for

FRAMES, PAUSE_S = 60, 0.4
LOOKS = {"page.png": ((1120, 900), "dark"), "page-phone.png": ((390, 900), "light")}
"""Of each picture the window's width and height in pixels, and the colours that the browser prefers."""
CONFIG = """
source = "watch:meters"
model = "canvas"

[rules]
window = 3
needed = 2
rising = true

[[regions]]
name = "water"
box = [30, 40, 440, 220]

[[regions]]
name = "gas"
box = [490, 290, 440, 220]

[web]
port = {port}
"""


def scene(frame: int) -> UInt8Array:
    """Return both counters at one moment, uint8 [540, 960]."""
    grey = np.tile(np.linspace(70, 100, 960, dtype=np.float32), (540, 1))
    grey[40:260, 30:470] = _plate(4217 + frame // 7, 7)
    grey[290:510, 490:930] = _plate(385 + frame // 16, 3)
    grey += np.random.default_rng(frame).normal(0, 4, grey.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _plate(number: int, seed: int) -> UInt8Array:
    drawn = draw_glyphs(str(number), rng_for(11, 5, seed)).image
    return np.asarray(cv2.resize(drawn, (440, 220), interpolation=cv2.INTER_CUBIC))


def main(out: Path) -> None:
    """Write the pictures."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "meters").mkdir()
        (folder / "run.toml").write_text(CONFIG.format(port=port))
        command = [sys.executable, "-m", "digitcam.cli", "run", "--config", "run.toml"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as run:
            time.sleep(5)
            for frame in range(FRAMES):
                part = folder / "part.png"
                cv2.imwrite(str(part), scene(frame))
                part.rename(folder / "meters" / f"{frame:03d}.png")
                time.sleep(PAUSE_S)
            browser = Browser("/usr/bin/chromium", folder / "profile")
            for file, ((width, height), colours) in LOOKS.items():
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < height}
                browser.call("Emulation.setDeviceMetricsOverride", **size)
                scheme = [{"name": "prefers-color-scheme", "value": colours}]
                browser.call("Emulation.setEmulatedMedia", features=scheme)
                browser.open(f"http://127.0.0.1:{port}/")
                time.sleep(6)
                picture = browser.call("Page.captureScreenshot", format="png")
                (out / file).write_bytes(base64.b64decode(picture["data"]))
            browser.close()
            run.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
