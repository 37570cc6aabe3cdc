#!/bin/busybox sh
# The lab guest's only process: load the drivers, wait for the host, run the load, say what the disks did, power off.
export PATH=/usr/bin:/bin  # busybox prefers its own applets even so: name a tool by its path
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
. /lab/settings

(sleep "$LIMIT_S"; echo "VIO-LAB LATE"; poweroff -f) &
while read -r module; do insmod "/modules/$module"; done < /modules/order

scsi_disks() {
    ls -d /sys/block/sd*/device/scsi_disk/*:* 2>/dev/null
}

# SCSI disks come up in any order. sda is the one with the lowest adapter and target, whatever the kernel calls it.
while [ "$(scsi_disks | wc -l)" -lt "$SCSI_DISKS" ]; do sleep 0.05; done
for disk in /sys/block/vd*; do [ ! -e "$disk" ] || echo "${disk##*/} ${disk##*/}"; done > /tmp/disks
for letter in a b c d e f g h i j; do echo "sd$letter"; done > /tmp/letters
scsi_disks | sed 's|/sys/block/\([^/]*\)/.*/|\1:|' | sort -t: -k2,2n -k4,4n | cut -d: -f1 > /tmp/found
paste -d' ' /tmp/letters /tmp/found | head -n "$SCSI_DISKS" >> /tmp/disks
while read -r name found; do
    case $name in sd*) rm -f "/dev/$name"; mknod "/dev/$name" b $(tr : ' ' < "/sys/block/$found/dev");; esac
    # Requests reach QEMU as the load made them, so that their number is known and QEMU gets adjacent ones to merge.
    echo 2 > "/sys/block/$found/queue/nomerges"
done < /tmp/disks

disks() {
    while read -r name found; do echo "VIO-LAB $1 $name $(cat "/sys/block/$found/stat")"; done < /tmp/disks
}

uptime_s() {
    cut -d' ' -f1 /proc/uptime
}

if [ "$WAIT_FOR_GO" = 1 ]; then
    exec 3< /dev/ttyS1
    echo "VIO-LAB READY $(uptime_s)"
    read -r _ <&3
else
    echo "VIO-LAB READY $(uptime_s)"
fi

echo "VIO-LAB BEGIN"
disks BEFORE
for step in /lab/load/*; do
    [ -e "$step" ] || continue
    begin_s=$(uptime_s)
    sh "$step" 2>&1
    status=$?
    echo "VIO-LAB STEP ${step##*/} $status $begin_s $(uptime_s)"
    [ "$status" = 0 ] || break
done
disks AFTER
# Else the kernel has each SCSI disk flush once more as it goes down, after it was counted.
for type in /sys/block/sd*/device/scsi_disk/*/cache_type; do
    [ ! -e "$type" ] || echo "temporary write through" > "$type"
done
echo "VIO-LAB END"
poweroff -f
