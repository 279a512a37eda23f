#!/bin/sh
# Installs what `digitcam image` has put beside this on the boot partition. Run as root at every boot, by the command
# in vendor-data, until it has succeeded; then this folder goes. What it said is in digitcam-log.txt on the boot
# partition, for whoever has only the card, and in the journal (unit digitcam-first-boot).
# Exit: 0 done, 75 the payload cannot be used here or its trial failed (tried again at the next boot), else a step failed
# (again in a minute).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
boot=$(dirname "$here")
root=${DIGITCAM_ROOT:-/}   # another root in tests
said=$(mktemp)
exec 3>&1 >"$said" 2>&1
trap 'status=$?; cat "$said" >&3; cp "$said" "$boot/digitcam-log.txt"; rm -f "$said"; sync; exit $status' EXIT

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"; }

# Secrets first: whatever comes of the rest, they are off this partition, which every computer can read.
if [ -d "$here/secrets" ]; then
  mkdir -p -m 700 "$root/etc/digitcam"
  for secret in "$here"/secrets/*; do
    name=${secret##*/}
    install -m 600 "$secret" "$root/etc/digitcam/.$name"
    sync
    mv "$root/etc/digitcam/.$name" "$root/etc/digitcam/$name"
    say "$name is in /etc/digitcam"
  done
  sync
  rm -r "$here/secrets"
fi

missing=
while read -r package; do
  dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done <"$here/packages"
if [ -n "$missing" ]; then
  say "installing$missing from the network"
  export DEBIAN_FRONTEND=noninteractive
  dpkg --configure -a   # a power cut may have left it in the middle
  # A Pi without a clock may still think it is the day its image was made.
  apt-get -o Acquire::Check-Date=false update
  # shellcheck disable=SC2086
  apt-get install --yes --no-install-recommends $missing
fi

id=$(cat "$here/todo")
say "installing payload $id"
installer() { python3 "$here/payload/install.py" --root "$root" "$@"; }
mkdir -p "$root/opt"
flock "$root/opt" true   # what a power cut broke off may be going on
code=0
installer install "$here/payload" || code=$?
case $code in
  0) ;;
  2 | 3) say "it cannot be used on this device: write the card anew with one that can"; exit 75 ;;
  *) exit $code ;;
esac
# There is nothing to go back to, and the camera may not look at a number yet: that it gives frames is enough.
if ! installer switch --no-reading-needed "$id"; then
  say "the trial failed; it is tried again at the next boot"
  exit 75
fi
say "payload $id runs"
sync
rm -f "$here/todo"
sync
rm -r "$here"
