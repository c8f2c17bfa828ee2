#!/bin/sh
# Boots systemd in a root, in the network of the lab's node that this runs in: sh boot.sh ROOT CGROUP
# Mount, process, IPC and cgroup namespaces are its own; it ends with whoever started it.
set -eu
root=$1
cgroup=$2

if [ "${3-}" != inside ]; then
  mkdir -p /run/cgroup
  mountpoint -q /run/cgroup || mount -t cgroup2 cgroup2 /run/cgroup
  mkdir -p "/run/cgroup/$cgroup"
  echo $$ >"/run/cgroup/$cgroup/cgroup.procs"
  exec unshare --pid --fork --kill-child --mount --ipc --cgroup --propagation private sh "$0" "$root" "$cgroup" inside
fi

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
# Not chroot: in one, the kernel makes nobody a user namespace.
cd "$root"
mkdir -p run/old
pivot_root . run/old
umount -l /run/old
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
