# A lab host's first process once its root is there: mount the rest, run scripts that the outer machine asks for, power off.
# A request is a line "NUMBER LIMIT_S" on the second serial line; NUMBER.sh, .out, .err and .status are in the shared directory.
. /run/settings
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
ip link set lo up
hostname "$NAME"
ulimit -l unlimited
ulimit -n 65536

power_off() {
    sync
    echo o > /proc/sysrq-trigger
    sleep 60
}
(sleep "$LIMIT_S"; echo "VIO-HOST its time is over"; power_off) &

run() {
    cd "$DIRECTORY" || exit 1
    file=$SHARE/$1
    timeout --kill-after=5 "$2" /bin/bash "$file.sh" > "$file.out" 2> "$file.err" < /dev/null 3<&-
    echo $? > "$file.part"
    mv "$file.part" "$file.status"
}

stty -F /dev/ttyS1 raw -echo
exec 3< /dev/ttyS1
cut -d' ' -f1 /proc/uptime > "$SHARE/ready"
while read -r number limit_s <&3; do
    [ "$number" != quit ] || break
    run "$number" "$limit_s" &
done
power_off
