"""Run `digitcam` with the real picamera2 on libcamera's virtual camera: `virtual_camera.py run --source picamera2://0`.

What the virtual camera lacks, and is given to picamera2 here; our own source is not touched:

- raw modes: it offers NV12 only;
- dma_heap buffers in one plane: it wants libcamera's own, with two;
- `bytes_used` of a frame: libcamera 0.4.0 leaves it unset, so a frame is mapped by the lengths of its planes;
- pykms, which picamera2 loads for previews on a screen.
"""

from __future__ import annotations

import mmap
import sys
from types import ModuleType
from typing import Any

sys.modules["pykms"] = ModuleType("pykms")
sys.modules["pykms"].PixelFormat = type("PixelFormat", (), {"__getattr__": lambda *_: 0})()  # type: ignore[attr-defined]

from picamera2 import picamera2  # noqa: E402
from picamera2.allocators import LibcameraAllocator  # noqa: E402


class Mapped:
    """A frame in memory while it is read."""

    def __init__(self, allocator: object, buffer: Any, write: bool) -> None:
        self._planes = buffer.planes

    def __enter__(self) -> mmap.mmap:
        self._memory = mmap.mmap(self._planes[0].fd, sum(plane.length for plane in self._planes))
        return self._memory

    def __exit__(self, *_: object) -> None:
        self._memory.close()


class Allocator(LibcameraAllocator):  # type: ignore[misc]
    """libcamera's own buffers; `camera` is set before they are asked for."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sync = Mapped


def configure(camera: Any, configuration: object) -> None:
    camera.allocator.camera = camera.camera
    real_configure(camera, configuration)


real_configure = picamera2.Picamera2.configure_
picamera2.Picamera2.configure_ = configure
picamera2.Picamera2._get_raw_modes = lambda _: [{"format": "NV12", "size": (640, 320)}]
picamera2.DmaAllocator = Allocator

if __name__ == "__main__":
    from digitcam.cli import main

    main()
