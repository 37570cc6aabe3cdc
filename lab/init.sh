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

# Requests reach QEMU as the load made them, so that their number is known and QEMU gets adjacent ones to merge.
for merging in /sys/block/vd*/queue/nomerges; do [ ! -e "$merging" ] || echo 2 > "$merging"; done

disks() {
    for disk in /sys/block/vd*; do [ ! -e "$disk/stat" ] || echo "VIO-LAB $1 ${disk##*/} $(cat "$disk/stat")"; done
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
echo "VIO-LAB END"
poweroff -f
