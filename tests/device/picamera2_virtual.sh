#!/usr/bin/env bash
# Read a picture of ours through the real picamera2 and libcamera's virtual camera, in a Debian trixie chroot.
# See README.md. Needs root, mmdebstrap and gcc; the first run makes the chroot, some minutes and 0.9 GB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
lab=${DEVICE_LAB:-/var/tmp/digitcam-device-lab}
root=$lab/trixie
number=4096

fail() { echo "picamera2_virtual: $*" >&2; exit 1; }
[[ $(id -u) == 0 ]] || fail "a chroot needs root: run it with sudo"
[[ $(uname -m) == x86_64 ]] || echo "picamera2_virtual: tried on x86-64 only" >&2
for tool in mmdebstrap gcc unshare; do
  command -v "$tool" >/dev/null || fail "no $tool: apt install mmdebstrap debian-archive-keyring gcc util-linux"
done

# In a mount namespace of its own, so that nothing stays mounted whatever happens.
if [[ ${1:-} != inside ]]; then
  exec unshare --mount --propagation private "$0" inside
fi

enter() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }

if [[ ! -e $root/debian ]]; then
  rm -rf "$root"
  mkdir -p "$lab"
  mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
    --include=ca-certificates,python3-venv,python3-dev,python3-numpy,python3-prctl,python3-pil \
    --include=python3-libcamera,libcamera-ipa,gcc,libc6-dev,libcap-dev,libarchive13t64 \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$root"
  touch "$root/debian"
fi
mkdir -p "$root/digitcam" "$root/test"
mount --bind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind -o ro "$repository" "$root/digitcam"

if [[ ! -e $root/opt/digitcam/ready ]]; then
  # The package index is reached as this machine reaches it, over a proxy with its own certificates too.
  cp /etc/resolv.conf "$root/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  enter python3 -m venv --system-site-packages /opt/digitcam
  enter PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/digitcam/bin/pip install --quiet \
    picamera2 click msgspec opencv-python-headless ai-edge-litert
  touch "$root/opt/digitcam/ready"
fi

gcc -Wall -Wextra -O1 -shared -fPIC -o "$root/test/shim.so" "$here/udmabuf_shim.c" -ldl
camera=$root/usr/share/libcamera/pipeline/virtual
mkdir -p "$camera"
cp "$here/virtual.yaml" "$camera/virtual.yaml"
inside() {
  enter LD_PRELOAD=/test/shim.so PYTHONPATH=/digitcam/edge:/digitcam/train:/digitcam/export:/digitcam/benchmarks PYTHONDONTWRITEBYTECODE=1 timeout --signal ABRT 180 /opt/digitcam/bin/python -u -X faulthandler "$@"
}
LD_PRELOAD='' enter PYTHONPATH=/digitcam/edge:/digitcam/train:/digitcam/export:/digitcam/benchmarks PYTHONDONTWRITEBYTECODE=1 /opt/digitcam/bin/python -c "
import cv2
from digitcam.core.canvas import draw_glyphs, rng_for
picture = cv2.resize(draw_glyphs('$number', rng_for(11, 5, 0)).image, (640, 320), interpolation=cv2.INTER_CUBIC)
cv2.imwrite('/test/picture.jpg', picture)"

inside /digitcam/tests/device/picamera2_virtual.py "$number"
readings=$(inside /digitcam/tests/device/virtual_camera.py run --model canvas --frames 5 \
  --source 'picamera2://0?width=640&height=320&fps=15')
[[ $(grep -c "\"number\":\"$number\"" <<<"$readings") == 5 ]] || fail "digitcam run read: $readings"
echo "picamera2_virtual: all right: digitcam run read $number five times"
