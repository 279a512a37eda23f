#!/usr/bin/env bash
# Flash an emulated arm64 machine with systemd, break the flash in every way, boot a card. See README.md.
# Needs root and what machine_image.sh needs; the first run makes the machine. Writes its result to the file it is given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
lab=${DEVICE_LAB:-/var/tmp/digitcam-device-lab}/machine
python=${VENV:-$repository/.venv}/bin/python
out=${1:-$repository/benchmarks/results/flash-emulated.json}
shift || true

fail() { echo "flash_machine: $*" >&2; exit 1; }
for tool in qemu-system-aarch64 qemu-img mosquitto mosquitto_sub mkfs.vfat mcopy ssh openssl; do
  PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null ||
    fail "no $tool: apt install qemu-system-arm qemu-utils mosquitto mosquitto-clients dosfstools mtools openssh-client openssl"
done
"$here/machine_image.sh"
PYTHONDONTWRITEBYTECODE=1 "$python" -u "$here/flash_machine.py" "$lab" "$out" "$@" ||
  fail "not all was as it should be: see above"
echo "flash_machine: all right (emulated)"
