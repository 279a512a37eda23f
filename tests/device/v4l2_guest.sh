#!/usr/bin/env bash
# Read a picture of ours through a real V4L2 device, in a virtual machine with Debian's kernel.
# See README.md. Needs root, mmdebstrap and qemu; the first run makes the machine, some minutes and 2.5 GB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
lab=${DEVICE_LAB:-/var/tmp/digitcam-device-lab}
root=$lab/guest
image=$lab/guest.ext4
limit_s=${GUEST_LIMIT_S:-900}

fail() { echo "v4l2_guest: $*" >&2; exit 1; }
[[ $(id -u) == 0 ]] || fail "a chroot needs root: run it with sudo"
[[ $(uname -m) == x86_64 ]] || fail "the machine is an x86-64 one: run it on one"
for tool in mmdebstrap mke2fs qemu-system-x86_64 unshare; do
  command -v "$tool" >/dev/null ||
    fail "no $tool: apt install mmdebstrap debian-archive-keyring e2fsprogs qemu-system-x86 seabios util-linux"
done

# In a mount namespace of its own, so that nothing stays mounted whatever happens.
if [[ ${1:-} != inside ]]; then
  exec unshare --mount --propagation private "$0" inside
fi

enter() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }

bootstrap() {
  rm -rf "$root"
  mkdir -p "$lab"
  # Of the modules only those that the root is mounted with go into the initial ramdisk.
  mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"' \
    --include=ca-certificates,python3-venv,kmod,linux-image-amd64,linux-headers-amd64,gcc,make \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$root"
  touch "$root/debian"
}

make_image() {
  rm -rf "$root/opt/v4l2loopback"
  mkdir -p "$root/digitcam" "$root/opt/v4l2loopback"
  cat >"$root/start" <<'START'
#!/bin/bash
mount -t proc proc /proc
/sbin/modprobe 9pnet_virtio
mount -t 9p -o trans=virtio,ro repository /digitcam
. /digitcam/tests/device/v4l2_guest_init.sh
START
  chmod +x "$root/start"
  printf '%s\n' virtio_pci virtio_blk ext4 >"$root/etc/initramfs-tools/modules"
  # The package index is reached as this machine reaches it, over a proxy with its own certificates too.
  cp /etc/resolv.conf "$root/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  mount --bind /proc "$root/proc"
  enter update-initramfs -u -k all >/dev/null
  enter python3 -m venv /opt/digitcam
  enter PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/digitcam/bin/pip install --quiet \
    numpy click msgspec opencv-python-headless ai-edge-litert
  enter env -C /opt/v4l2loopback bash -ec "$(<"$here/build_v4l2loopback.sh")"
  enter bash -ec 'depmod "$(basename /lib/modules/*)"'
  umount "$root/proc"
  # Half of it is room to spare, a hole in the file.
  truncate --size 3G "$image.new"
  mke2fs -q -F -t ext4 -d "$root" "$image.new"
  mv "$image.new" "$image"
}

[[ -e $root/debian ]] || bootstrap
[[ -e $image ]] || make_image

# What the machine writes is thrown away; the repository it sees read-only.
started=$SECONDS
log=$lab/guest.log
said=0
timeout "$limit_s" qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp 1 -m 1500 -nographic -monitor none \
  -serial stdio -no-reboot -nic none -kernel "$root/vmlinuz" -initrd "$root/initrd.img" \
  -append "console=ttyS0 quiet loglevel=3 root=/dev/vda rw panic=-1 init=/start" \
  -drive "file=$image,format=raw,if=virtio,snapshot=on" \
  -virtfs "local,path=$repository,mount_tag=repository,security_model=none,readonly=on" \
  </dev/null >"$log" 2>&1 || said=$?
tr -d '\r' <"$log"
[[ $said == 0 ]] || fail "the machine ended with $said: see $log"
grep -q '^guest: all right' "$log" || fail "not all was right: see above, or $log"
echo "v4l2_guest: all right, in $((SECONDS - started)) s (emulated)"
