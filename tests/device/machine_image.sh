#!/usr/bin/env bash
# Make the disk of an emulated arm64 machine that stands for a Raspberry Pi: Debian trixie with its kernel, systemd, ssh,
# cloud-init set up as Raspberry Pi OS has it, and a V4L2 camera that shows a picture of ours. See README.md.
# Needs root, mmdebstrap, qemu-user-static; some ten minutes once, of which the system, kept as a tar, takes most.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
lab=${DEVICE_LAB:-/var/tmp/digitcam-device-lab}/machine
python=${VENV:-$repository/.venv}/bin/python
emulator=/usr/bin/qemu-aarch64-static
root=$lab/root
image=$lab/disk.ext4

fail() { echo "machine_image: $*" >&2; exit 1; }
[[ $(id -u) == 0 ]] || fail "a chroot needs root: run it with sudo"
for tool in arch-test depmod mmdebstrap mke2fs ssh-keygen unshare "$emulator"; do
  command -v "$tool" >/dev/null ||
    fail "no $tool: apt install arch-test kmod mmdebstrap debian-archive-keyring e2fsprogs openssh-client qemu-user-static util-linux"
done
[[ -x $python ]] || fail "no $python: run 'make test' first, or set VENV"

# In a mount namespace of its own, so that nothing stays mounted whatever happens.
if [[ ${1:-} != inside ]]; then
  exec unshare --mount --propagation private "$0" inside
fi

# Programs for arm64 run here by the emulator, of which the kernel has to know.
binfmt=/proc/sys/fs/binfmt_misc
mountpoint -q "$binfmt" || mount -t binfmt_misc binfmt_misc "$binfmt"
if ! compgen -G "$binfmt/qemu-aarch64*" >/dev/null; then
  ident='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$ident:$mask:$emulator:OCF" >"$binfmt/register"
fi

enter() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }

bootstrap() {
  # Of the modules only those that the root is mounted with go into the initial ramdisk.
  mmdebstrap --quiet --arch=arm64 --format=tar --variant=minbase --aptopt='APT::Install-Recommends "false"' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list >"$1/etc/initramfs-tools/conf.d/machine"' \
    --essential-hook='printf "%s\n" virtio_pci virtio_blk ext4 virtio_net >"$1/etc/initramfs-tools/modules"' \
    --include=ca-certificates,cloud-init,dbus,gcc,iproute2,kmod,linux-headers-arm64,linux-image-arm64,make \
    --include=openssh-server,python3,python3-venv,sudo,systemd,systemd-sysv,udev \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$lab/system.tar.new"
  mv "$lab/system.tar.new" "$lab/system.tar"
}

# A file of the machine, from standard input.
put() { install -D -m "${2:-644}" /dev/stdin "$root$1"; }

camera() {
  mkdir -p "$root/opt/v4l2loopback"
  cp /etc/resolv.conf "$root/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  enter env -C /opt/v4l2loopback bash -ec "$(<"$here/build_v4l2loopback.sh")"
  depmod -b "$root" "$(basename "$root"/lib/modules/*)"
  rm -rf "$root/opt/v4l2loopback"
  echo v4l2loopback | put /etc/modules-load.d/camera.conf
  echo 'options v4l2loopback video_nr=0 card_label=picture exclusive_caps=1' | put /etc/modprobe.d/camera.conf
  put /opt/picture/feeder.py <"$here/v4l2_feeder.py"
  "$python" "$here/machine_picture.py" | put /opt/picture/frame.yuyv
  # Once a second: each frame is read by an emulated processor.
  put /etc/systemd/system/picture.service <<'UNIT'
[Unit]
Description=What the camera sees
After=systemd-modules-load.service
Before=digitcam.service
[Service]
ExecStart=/usr/bin/python3 -S /opt/picture/feeder.py /dev/video0 640 320 /opt/picture/frame.yuyv 1
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
  enter systemctl --quiet enable picture.service
}

person() {
  # As Raspberry Pi Imager makes the first user: a key, and sudo without a password.
  [[ -e $lab/key ]] || ssh-keygen -q -t ed25519 -N '' -C "" -f "$lab/key"
  enter useradd --create-home --shell /bin/bash --groups sudo,video pi
  echo 'pi ALL=(ALL) NOPASSWD:ALL' | put /etc/sudoers.d/pi 440
  put /home/pi/.ssh/authorized_keys 600 <"$lab/key.pub"
  enter chown -R pi:pi /home/pi/.ssh
  enter chmod 700 /home/pi/.ssh
}

network() {
  # No way out: the machine reaches the one that emulates it, and no name is resolved. cloud-init's own comes before.
  put /etc/systemd/network/90-machine.network <<'NETWORK'
[Match]
Type=ether
[Network]
Address=10.0.2.15/24
NETWORK
  rm -f "$root/etc/resolv.conf"
  enter systemctl --quiet enable systemd-networkd.service ssh.service
  echo meter >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 meter\n' >"$root/etc/hosts"
}

cloud() {
  # As on Raspberry Pi OS, but that the file system fills its disk already. Its cloud-init waits for the boot partition,
  # Debian's has to be told.
  put /etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg <<'CLOUD'
datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
ssh_deletekeys: false
ssh_genkeytypes: []
resize_rootfs: false
CLOUD
  mkdir -p "$root/boot/firmware"
  for unit in cloud-init-main cloud-init-local; do
    printf '[Unit]\nRequiresMountsFor=/boot/firmware\n' | put "/etc/systemd/system/$unit.service.d/boot.conf"
  done
}

make_image() {
  rm -rf "$root"
  mkdir -p "$root"
  tar -xf "$lab/system.tar" -C "$root" --exclude='./dev/*'
  mount --bind /proc "$root/proc"
  camera
  person
  network
  cloud
  umount "$root/proc"
  # What would take the emulated processor's time for nothing.
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer serial-getty@ttyAMA0.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  : >"$root/etc/machine-id"
  touch "$root/etc/.updated" "$root/var/.updated"
  cp "$root/vmlinuz" "$lab/vmlinuz"
  cp "$root/initrd.img" "$lab/initrd.img"
  cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$lab/host_key.pub"
  truncate --size 6G "$image.new"
  mke2fs -q -F -t ext4 -L rootfs -d "$root" "$image.new"
  mv "$image.new" "$image"
}

mkdir -p "$lab"
[[ -e $lab/system.tar ]] || bootstrap
[[ -e $image ]] || make_image
