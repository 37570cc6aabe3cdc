#!/bin/busybox sh
# A lab host's first process: mount the outer machine's root, read-only, with places to write on top, and go there.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
. /lab/settings

while read -r module; do insmod "/modules/$module"; done < /modules/order

# Without a cache each page of a library that is mapped takes a message of its own, and Python takes a minute to start.
nine() { mount -t 9p -o "$3,version=9p2000.L,trans=virtio,access=any,msize=512000" "$1" "$2"; }
if ! nine vio-root /root ro,cache=loose; then
    echo "VIO-HOST the outer machine's root cannot be mounted"
    poweroff -f
fi
mkdir /base
mount --bind /root /base

for place in tmp run var/tmp var/log mnt srv media; do mount -t tmpfs -o mode=1777 tmpfs "/root/$place"; done
mkdir -p /root/run/lock
modules=usr/lib/modules
[ -d "/base/$modules" ] || modules=usr/lib  # a machine that boots no kernel of its own has no such place
for place in etc "$modules"; do
    mkdir -p "/root/run/over/$place/upper" "/root/run/over/$place/work"
    over="upperdir=/root/run/over/$place/upper,workdir=/root/run/over/$place/work"
    mount -t overlay -o "lowerdir=/base/$place,$over" overlay "/root/$place"
done
if [ ! -e "/root/lib/modules/$(uname -r)" ]; then
    mkdir -p "/root/lib/modules/$(uname -r)"
    mount --bind "/base$MODULES" "/root/lib/modules/$(uname -r)"
fi
# what the outer machine has where these places are now
for path in $VISIBLE; do
    [ ! -e "/root$path" ] || continue
    mkdir -p "/root$path"
    mount --bind "/base$path" "/root$path"
done
mkdir -p "/root$SHARE"
nine vio-share "/root$SHARE" rw || echo "VIO-HOST the shared directory cannot be mounted"

cp /lab/settings /lab/agent.sh /root/run/
for place in proc sys dev; do mount --move "/$place" "/root/$place"; done
exec switch_root /root /bin/sh /run/agent.sh
