#!/usr/bin/env bash
# Compare what the shipped networks answer on an arm64 processor, emulated, with what they answer on this x86-64 one.
# See README.md. Needs root, mmdebstrap and qemu-user-static; the first run makes the arm64 system, a minute or two.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
lab=${DEVICE_LAB:-/var/tmp/digitcam-device-lab}
python=${VENV:-$repository/.venv}/bin/python
out=${1:-$repository/benchmarks/results/arm64-emulated.json}
root=$lab/arm64
emulator=/usr/bin/qemu-aarch64-static

fail() { echo "arm64_outputs: $*" >&2; exit 1; }
[[ $(id -u) == 0 ]] || fail "a chroot needs root: run it with sudo"
[[ $(uname -m) == x86_64 ]] || fail "what is compared with is x86-64: run it on one"
for tool in mmdebstrap unshare "$emulator"; do
  command -v "$tool" >/dev/null || fail "no $tool: apt install mmdebstrap debian-archive-keyring qemu-user-static util-linux"
done
[[ -x $python ]] || fail "no $python: run 'make test' first, or set VENV"

# In a mount namespace of its own, so that nothing stays mounted whatever happens.
if [[ ${ARM64_INSIDE:-} != yes ]]; then
  ARM64_INSIDE=yes exec unshare --mount --propagation private "$0" "$@"
fi

# Unpacked and not configured: nothing of arm64 runs while it is made, so the kernel need not know of the emulator.
if [[ ! -e $root/debian ]]; then
  rm -rf "$root"
  mkdir -p "$lab"
  mmdebstrap --quiet --arch=arm64 --variant=extract --aptopt='APT::Install-Recommends "false"' \
    --include=python3,libstdc++6 --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$root"
  ln -sfn usr/lib "$root/lib"
  touch "$root/debian"
fi

# The very versions that answer here, as wheels for there.
mapfile -t wanted < <("$python" -c '
from importlib.metadata import version
for name in ("numpy", "onnxruntime", "ai-edge-litert", "opencv-python-headless", "msgspec"):
    print(f"{name}=={version(name)}")')
(( ${#wanted[@]} == 5 )) || fail "$python lacks an engine: run 'make test' first"
if [[ $(cat "$root/opt/wheels.txt" 2>/dev/null) != "${wanted[*]}" ]]; then
  platforms=()
  for glibc in 17 24 26 27 28 31 34 35 36 39; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
  rm -rf "$root/opt/site"
  "$python" -m pip install --quiet --no-warn-conflicts --target "$root/opt/site" --only-binary=:all: \
    "${platforms[@]}" --python-version 3.13 --implementation cp "${wanted[@]}"
  echo "${wanted[*]}" >"$root/opt/wheels.txt"
fi

# The libraries look there for what the processor can do. The host's /sys and /proc would tell them of another one.
mkdir -p "$root/proc" "$root/sys/devices/system/cpu" "$root/digitcam" "$root/answers"
echo 0 | tee "$root/sys/devices/system/cpu/possible" >"$root/sys/devices/system/cpu/present"
cp "$emulator" "$root/usr/bin/"
mount --bind -o ro "$repository" "$root/digitcam"

# What a Raspberry Pi 4 and 5 say of their processors.
cpuinfo() {
  local features='fp asimd evtstrm crc32 cpuid' part=0xd08 variant=0x0 revision=3
  if [[ $1 == cortex-a76 ]]; then
    features='fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp'
    part=0xd0b variant=0x4 revision=1
  fi
  printf '%s\t: %s\n' processor 0 BogoMIPS 108.00 Features "$features" 'CPU implementer' 0x41 \
    'CPU architecture' 8 'CPU variant' "$variant" 'CPU part' "$part" 'CPU revision' "$revision"
}

sources=edge:train:export:benchmarks
answers=$root/answers
others=()
for cpu in cortex-a72 cortex-a76; do
  cpuinfo "$cpu" >"$root/proc/cpuinfo"
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$emulator" -cpu "$cpu" -E LC_ALL=C.UTF-8 -E HOME=/root \
    -E PYTHONPATH=/opt/site:/digitcam/edge -E PYTHONDONTWRITEBYTECODE=1 \
    /usr/bin/python3.13 /digitcam/tests/device/arm64_outputs.py record "/answers/$cpu.npz"
  others+=("$cpu=$answers/$cpu.npz")
done
ours() {
  PYTHONPATH=$repository/${sources//:/:$repository/} PYTHONDONTWRITEBYTECODE=1 "$python" "$here/arm64_outputs.py" "$@"
}
ours record "$answers/here.npz"
ours compare "$out" "$("$emulator" --version | head -n 1)" "$answers/here.npz" "${others[@]}" ||
  fail "an answer is not as here: see above, and $out"
echo "arm64_outputs: all right: int8 answers equal x86-64's bit for bit (emulated): $out"
