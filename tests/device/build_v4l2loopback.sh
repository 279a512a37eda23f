# Compile v4l2loopback for the kernel of the system that this runs in, and install it; depmod is the caller's.
# By hand: dkms would be some packages more for one module of one file. The folder it runs in keeps what it was made of.
kernel=$(basename /lib/modules/*)
apt-get update -qq
apt-get download -qq v4l2loopback-dkms
dpkg -x v4l2loopback-dkms_*.deb .
sources=$(echo "$PWD"/usr/src/v4l2loopback-*)
make -s -C "/lib/modules/$kernel/build" "M=$sources" modules
install -D "$sources/v4l2loopback.ko" "/lib/modules/$kernel/updates/v4l2loopback.ko"
