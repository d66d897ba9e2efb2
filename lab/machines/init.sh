#!/bin/bash
# PID 1 of a lab machine. Called by machine.py inside fresh namespaces as: init.sh STATE NAME [SOURCE:TARGET ...]
# It makes the machine's own root (an overlay over this machine's), enters it, runs /etc/lab/boot and reaps for ever.
set -eu
state=$1 name=$2
shift 2
# Before /proc is replaced this is still our number as the outside sees it; with the start time it names us for good.
read -r -a stat </proc/self/stat
root=$state/root

mount -t overlay lab -o "lowerdir=/,upperdir=$state/upper,workdir=$state/work" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755,size=256m run run
mount -t tmpfs -o mode=1777,size=1g tmp tmp
mount -t tmpfs -o mode=755,size=16m dev dev
mkdir dev/pts dev/shm dev/net run/lock run/lab run/old
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777,size=1g shm dev/shm
# No /dev/kvm: where the lab machine is itself a guest it opens, and then guests hang on it.
node() { mknod -m 666 "dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9; node tty 5 0
node fuse 10 229; node net/tun 10 200
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
for bind in "$@"; do
    mkdir -p ".${bind#*:}"
    mount --bind "${bind%%:*}" ".${bind#*:}"
done
hostname "$name"
echo "${stat[0]} ${stat[21]}" >"$state/pid.new"
mv "$state/pid.new" "$state/pid"
pivot_root . run/old
cd /
umount -l /run/old
rmdir /run/old
exec /bin/bash /etc/lab/init
