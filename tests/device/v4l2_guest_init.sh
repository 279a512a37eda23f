# The first and only process of the machine that v4l2_guest.sh starts.
export PATH=/opt/digitcam/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
export PYTHONPATH=/digitcam/edge:/digitcam/benchmarks PYTHONDONTWRITEBYTECODE=1 PYTHON_COLORS=0
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
cd /tmp
read -r up _ </proc/uptime
echo "guest: $(uname -srm) after $up s (emulated)"
python -u -X faulthandler /digitcam/tests/device/v4l2_guest.py && echo "guest: all right"
echo o >/proc/sysrq-trigger
sleep 60
