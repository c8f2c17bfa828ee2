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
usage: sh get.sh [--dry-run | --remove]

Adds the key and the apt source of $base, installs pvenat, and shows what it found on this node.
Later versions come with apt-get upgrade.

  --dry-run   only tell; touches nothing
  --remove    remove the package with its settings, the source and the key
X
}

die() {
  echo "get.sh: $*" >&2
  exit 1
}

mode=install
for word; do
  case $word in
    --dry-run) mode=tell ;;
    --remove) mode=remove ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done

[ "$mode" = tell ] || [ "$(id -u)" -eq 0 ] || die 'needs root'
export DEBIAN_FRONTEND=noninteractive

if [ "$mode" = remove ]; then
  apt-get -y -q purge pvenat </dev/null
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
node=$(dpkg-query -W -f '${Version}' nodejs 2>/dev/null) || true
if [ -n "$node" ]; then
  echo "Node.js $node"
else
  echo "there is no Node.js here: Debian's comes along, about 100 MB"
fi

if [ "$mode" = tell ]; then
  echo "would write $keyring and $source"
  echo 'would install pvenat and what it needs'
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
apt-get -y -q install -o DPkg::Lock::Timeout=120 pvenat </dev/null || die 'apt-get could not install pvenat'

echo
pvenat status --no-color || true
echo
pvenat doctor --no-color || true
echo
echo 'Next: begin the comment of a firewall rule with NAT (man pvenat-comments).'
