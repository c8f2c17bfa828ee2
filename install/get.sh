#!/bin/sh
# Installs pvenat on a Proxmox VE 8 or 9 node from its apt repository, as root. See --help.
set -eu

# `npm run release` writes these two.
base=https://pvenat.invalid
key_sum=

keyring=/usr/share/keyrings/pvenat-archive-keyring.gpg
source=/etc/apt/sources.list.d/pvenat.sources

usage() {
  cat <<X
usage: sh get.sh [--standalone] [--dry-run | --remove]

Adds the key and the apt source of $base, installs pvenat, and shows what it found on this node.
Later versions come with apt-get upgrade.

  --standalone  with a Node.js that only pvenat uses, in place of Debian's: the package pvenat-nodejs, for amd64 only. Its fixes
                come with releases of pvenat, not with Debian's updates.
  --dry-run     only tell; touches nothing
  --remove      remove the package with its settings, the source and the key
X
}

die() {
  echo "get.sh: $*" >&2
  exit 1
}

mode=install
packages=pvenat
for word; do
  case $word in
    --standalone) packages='pvenat pvenat-nodejs' ;;
    --dry-run) mode=tell ;;
    --remove) mode=remove ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done

[ "$mode" = tell ] || [ "$(id -u)" -eq 0 ] || die 'needs root'
export DEBIAN_FRONTEND=noninteractive

if [ "$mode" = remove ]; then
  # shellcheck disable=SC2046 # a list of words
  apt-get -y -q purge $(dpkg-query -W -f '${Package} ' pvenat pvenat-nodejs 2>/dev/null) </dev/null
  rm -f "$keyring" "$source"
  echo 'pvenat, its apt source and its key are removed'
  exit 0
fi

pve=$(pveversion 2>/dev/null | sed -n 's|^pve-manager/\([0-9]*\)\..*|\1|p') || true
case $pve in
  8 | 9) ;;
  '') die 'this is no Proxmox VE node: there is no pveversion' ;;
  *) die "Proxmox VE $pve is not supported; 8 or 9 is needed" ;;
esac
echo "Proxmox VE $pve, repository $base/apt"
machine=$(dpkg --print-architecture)
node=$(dpkg-query -W -f '${Version}' nodejs 2>/dev/null) || true
own="a Node.js that only pvenat uses: 34 MB to fetch, 107 MB installed; its fixes come with releases of pvenat, not with Debian's updates"
if [ "$packages" != pvenat ]; then
  [ "$machine" = amd64 ] || die "--standalone is for amd64 only, and this is $machine"
  echo "pvenat-nodejs comes along, $own"
elif [ -x /usr/lib/pvenat/node ]; then
  echo "Node.js $(/usr/lib/pvenat/node --version), of pvenat-nodejs"
elif [ -n "$node" ]; then
  echo "Node.js $node"
else
  echo "there is no Node.js here: Debian's comes along, about 100 MB"
  [ "$machine" != amd64 ] || echo "with --standalone, $own"
fi

if [ "$mode" = tell ]; then
  echo "would write $keyring and $source"
  echo "would install $packages and what is needed"
  echo 'nothing was touched'
  exit 0
fi

# apt's own helper: a node need not have curl, and the sum makes sure that the key is the one this script was made with.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
/usr/lib/apt/apt-helper -q download-file "$base/pvenat-archive-keyring.gpg" "$scratch/key" "SHA256:$key_sum" >"$scratch/log" 2>&1 ||
  die "the key of $base cannot be had or is not the expected one:
$(cat "$scratch/log")"
install -m 644 "$scratch/key" "$keyring"
cat >"$source" <<X
Types: deb
URIs: $base/apt
Suites: stable
Components: main
Signed-By: $keyring
X

# Only this source is asked: others that are broken are none of ours. A repository that is not signed by the key is refused.
apt-get -q update -o Dir::Etc::sourcelist="$source" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \
  -o APT::Update::Error-Mode=any </dev/null || die "the repository $base/apt cannot be used; nothing was installed"
# shellcheck disable=SC2086 # a list of words
apt-get -y -q install -o DPkg::Lock::Timeout=120 $packages </dev/null || die 'apt-get could not install pvenat'

echo
pvenat status --no-color || true
echo
pvenat doctor --no-color || true
echo
echo 'Next: begin the comment of a firewall rule with NAT (man pvenat-comments).'
