"""An RTSP server that shows one picture as H.264: `/usr/bin/python3 rtsp_server.py PORT PICTURE.png`.

It belongs to the system's Python, which has `gi`. Says `ready` on standard output once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( multifilesrc location={picture} caps=image/png,framerate=15/1 ! pngdec ! videoconvert ! "
    "video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main(port: str, picture: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(picture=picture))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/meter", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
