"""Show a picture on a V4L2 loopback device: `v4l2_feeder.py DEVICE WIDTH HEIGHT FRAME.yuyv [PAUSE_S]`.

Ten times a second, unless told. It plays the camera, so it uses nothing of ours; stop it (SIGSTOP) and it freezes.
"""

import fcntl
import struct
import sys
import time
from pathlib import Path

VIDIOC_S_FMT = 0xC0D05605
OUTPUT = 2  # V4L2_BUF_TYPE_VIDEO_OUTPUT
FIELD_NONE = 1


def main(device: str, width: str, height: str, frame: str, pause_s: str = "0.1") -> None:
    picture = Path(frame).read_bytes()
    # struct v4l2_format with struct v4l2_pix_format in it, 208 bytes.
    shape = (int(width), int(height), int.from_bytes(b"YUYV", "little"), FIELD_NONE, 2 * int(width), len(picture))
    settings = struct.pack("=I4x6I", OUTPUT, *shape).ljust(208, b"\0")
    with Path(device).open("r+b", buffering=0) as opened:
        fcntl.ioctl(opened, VIDIOC_S_FMT, settings)
        while True:
            opened.write(picture)
            time.sleep(float(pause_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
