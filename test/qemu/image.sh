#!/bin/sh
# Makes what a Debian root is booted from: vmlinuz, and root.cpio, the root with the modules of its kernel.
#   sh image.sh ROOT FOLDER
# The kernel is the root's release's own, in its small build for virtual machines; wg comes from there, too. The root is left as it is.
set -eu
root=$1
folder=$2
making=$folder.$$
trap 'rm -rf "$making"' EXIT
mkdir -p "$making/debs" "$making/lists/partial" "$making/kernel" "$making/image"

unshare --mount --propagation private sh -eu -s "$root" "$making" <<'X'
mount --bind "$2/debs" "$1/mnt"
mount --bind "$2/lists" "$1/var/lib/apt/lists"
mount -t tmpfs tmpfs "$1/var/cache/apt"
chroot "$1" sh -eu -c '
  cd /mnt
  apt-get -qq -o APT::Sandbox::User=root update
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: \(linux-image-[^ ]*\)$/\1/p")
  apt-get -qq -o APT::Sandbox::User=root download "$kernel" wireguard-tools'
X

dpkg-deb -x "$making"/debs/linux-image-*.deb "$making/kernel"
mkdir -p "$making/tree/usr"
if [ -d "$making/kernel/usr/lib" ]; then lib=$making/kernel/usr/lib; else lib=$making/kernel/lib; fi
mv "$lib" "$making/tree/usr/lib"
ln -s usr/lib "$making/tree/lib"
version=$(ls "$making/tree/lib/modules")
depmod -b "$making/tree" "$version"
rm "$making/tree/lib"

dpkg-deb --fsys-tarfile "$making"/debs/wireguard-tools_*.deb | tar -x -C "$making/tree" ./usr/bin

mv "$making/kernel/boot/vmlinuz-$version" "$making/image/vmlinuz"
# cpio takes many archives as one.
{
  (cd "$root" && find . \( -path './usr/share/doc' -o -path './usr/share/man' -o -path './usr/share/locale' \
    -o -path './var/lib/apt/lists/*' \) -prune -o -print0 | cpio --quiet --null -o -H newc)
  (cd "$making/tree" && find . -print0 | cpio --quiet --null -o -H newc)
} >"$making/image/root.cpio"
mv "$making/image" "$folder"
