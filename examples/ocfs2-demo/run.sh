#!/bin/bash
# Ten IOs on QEMU's IO path, and where each of them spends its time inside the host's file system.
#   run.sh DIRECTORY RECORDING [write|read|sync|native|new]
# As root. DIRECTORY is on the file system to look into (OCFS2; ext4, xfs and btrfs do as well); 64 MiB are taken there
# and given back. VIO is the command, if it is not `vio`. docs/demonstration.md reads what comes out.
#   write   direct writes, each a pwrite of a worker thread
#   read    direct reads of the same places
#   sync    writes into the page cache, each followed by a flush
#   native  direct writes by io_submit: they end in another thread
#   new     the same to blocks that are not there yet, with a flush after every fifth
set -eu
directory=$1 recording=$2 kind=${3:-write}
image=$directory/demo.raw
step=$((1 << 20 | 4096)) # no two neighbours: nothing is merged
syscall=fentry:vfs_write
case $kind in
write) how=(-t none -i threads -w) ;;
read) how=(-t none -i threads) syscall=fentry:vfs_read ;;
sync) how=(-t writeback -i threads -w --flush-interval=1) ;;
native) how=(-t none -i native -w) ;;
new) how=(-t none -i native -w --flush-interval=5 -o 32M) ;;
*) echo "run.sh: there is no kind $kind: write, read, sync, native or new" >&2 && exit 2 ;;
esac

trap 'rm -f "$image"' EXIT
qemu-img create -q -f raw "$image" 64M
# written once, so that blocks are only mapped and not allocated
dd if=/dev/zero of="$image" bs=1M count=16 conv=notrunc oflag=direct status=none
sync
${VIO:-vio} record --force -o "$recording" --open fs \
    --point $syscall --point fentry:submit_bio --point fentry:submit_bio_noacct \
    -- qemu-img bench -q -f raw "${how[@]}" -c 10 -d 1 -S $step "$image"
