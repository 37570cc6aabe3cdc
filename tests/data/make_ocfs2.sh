#!/bin/bash
# Make tests/data/ocfs2.vio anew: inside a host with OCFS2, kprobes and fentry (Debian's 6.1 kernel, emulated, will do).
# make_ocfs2.sh CHECKOUT OUTPUT DEVICE: the device is formatted. Some minutes where the host is emulated.
# Then show the image at /srv/vm in the manifest, the host as lab-host, and leave program.bt out.
set -eux
checkout=$1 output=$2 device=$3
place=/mnt/vio-ocfs2
export PYTHONPATH=$checkout/src
ulimit -l unlimited
mount -t tracefs nodev /sys/kernel/tracing || true
modprobe ocfs2
mkfs.ocfs2 -q -F --fs-features=local -M local -N 1 -C 64K -b 4K "$device"
mkdir -p "$place"
mount -t ocfs2 "$device" "$place"
qemu-img create -q -f raw "$place/disk.raw" 64M
dd if=/dev/zero of="$place/disk.raw" bs=1M count=16 conv=notrunc oflag=direct
sync
# the case of the design's origin: ten writes to a file on OCFS2, the file system opened
"$checkout/.venv/bin/python" "$checkout/tests/data/record_ocfs2.py" "$output/ocfs2.vio" \
    qemu-img bench -q -f raw -t none -n -w -c 10 -d 1 -S 1052672 "$place/disk.raw"
umount "$place"
