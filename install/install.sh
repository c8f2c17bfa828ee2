#!/bin/sh
# Installs pvenat on a Proxmox VE node from a package file; for those who have no repository. See --help.
set -eu

usage() {
  cat <<'X'
usage: sh install.sh [--dry-run] [--quiet] [PACKAGE.deb]

Checks that this is a Proxmox VE node that pvenat runs on, installs the package by apt, and shows what it found and what
to do next. Without PACKAGE.deb it takes the one that `npm run deb` made. May be run again at any time.

  --dry-run   only tell; touches nothing
  --quiet     only "changed" or "unchanged", and what goes wrong

exit codes
  0  the package is installed (or could be); the last line says "changed" or "unchanged"
  1  something failed
  2  the command line makes no sense, or there is no package
  3  this is no Proxmox VE 8 or 9 node
  4  not root
  5  no Node.js that is new enough: neither installed nor in apt's lists
X
}

say() { [ -n "$quiet" ] || echo "$*"; }
die() {
  code=$1
  shift
  echo "install.sh: $*" >&2
  exit "$code"
}

dry_run=
quiet=
package=
for word; do
  case $word in
    --dry-run) dry_run=yes ;;
    --quiet) quiet=yes ;;
    --help | -h) usage && exit 0 ;;
    -*) die 2 "unknown option $word; see --help" ;;
    *) [ -z "$package" ] || die 2 "one package only; see --help"; package=$word ;;
  esac
done

[ -n "$dry_run" ] || [ "$(id -u)" -eq 0 ] || die 4 'needs root'

if [ -z "$package" ]; then
  for file in "$(dirname -- "$0")"/../dist/pvenat_*_all.deb; do [ ! -f "$file" ] || package=$file; done
  [ -n "$package" ] || die 2 'no package; make one with: npm ci && npm run deb'
fi
[ "$(dpkg-deb -f "$package" Package 2>/dev/null)" = pvenat ] || die 2 "$package is no package of pvenat"
package=$(realpath -- "$package")
version=$(dpkg-deb -f "$package" Version)

pve=$(pveversion 2>/dev/null | sed -n 's|^pve-manager/\([0-9.]*\).*|\1|p') || true
if [ -z "$pve" ] || [ ! -d /etc/pve ]; then die 3 'this is no Proxmox VE node: there is no pveversion, or no /etc/pve'; fi
dpkg --compare-versions "$pve" ge 8 || die 3 "Proxmox VE $pve is too old; 8 or 9 is needed"
say "Proxmox VE $pve"

own=/usr/lib/pvenat/node
needed=$(dpkg-deb -f "$package" Depends | sed -n 's/.*nodejs (>= \([^)]*\)).*/\1/p')
node=$(dpkg-query -W -f '${Version}' nodejs 2>/dev/null) || true
found="Node.js $node"
if [ -x "$own" ]; then
  node=$("$own" --version | tr -d v)
  found="Node.js $node, of pvenat-nodejs"
elif [ -z "$node" ]; then
  node=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p')
  found="there is no Node.js here: Debian's $node comes along, about 100 MB
(on amd64 also without it: first install pvenat-nodejs_*_amd64.deb, a Node.js that only pvenat uses)"
fi
[ -n "$node" ] || die 5 'apt knows no nodejs; try: apt-get update, or install pvenat-nodejs_*_amd64.deb first'
dpkg --compare-versions "$node" ge "$needed" || die 5 "Node.js $node is too old; $needed is needed"
say "$found"

# A copy that was put there by hand would be started in place of the package's.
by_hand=
for file in /usr/local/sbin/pvenat /usr/local/sbin/pvenat-rollback /etc/systemd/system/pvenat.service; do
  if [ -e "$file" ] || [ -L "$file" ]; then by_hand="$by_hand $file"; fi
done

installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' pvenat 2>/dev/null) || true
if [ "$installed" = "installed $version" ] && [ -z "$by_hand" ]; then
  outcome=unchanged
elif [ -n "$dry_run" ]; then
  outcome=changed
  say "would install pvenat $version${by_hand:+, and remove$by_hand}"
else
  outcome=changed
  say "installing pvenat $version"
  # shellcheck disable=SC2086 # a list of words
  rm -f $by_hand
  log=$(DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \
    -o DPkg::Lock::Timeout=120 "$package" 2>&1 </dev/null) || die 1 "apt-get failed:
$log"
fi

# Unpacks Debian's Node.js beside the program of the package, for this look alone; false where it cannot be had.
lend_node() {
  echo 'there is no Node.js here: it is fetched for this look, about 30 MB, and removed again'
  mkdir -p "$scratch/archives/partial"
  apt-get -q -y --no-install-recommends --download-only -o Dir::Cache::archives="$scratch/archives" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root install nodejs \
    </dev/null >"$scratch/log" 2>&1 || return 1
  for file in "$scratch"/archives/*.deb; do dpkg-deb -x "$file" "$scratch"; done
  lent=yes
  run --version >>"$scratch/log" 2>&1
}

# Runs pvenat; by the lent Node.js in a mount namespace, since Debian's reads files of /usr/share/nodejs.
run() {
  [ -n "$lent" ] || { sh "$start" "$program" "$@"; return; }
  # shellcheck disable=SC2016 # for the inner shell
  LD_LIBRARY_PATH=$(echo "$scratch"/usr/lib/*-linux-gnu) unshare --mount sh -c \
    'mount --bind "$0/usr/share" /usr/share && exec "$0/usr/bin/node" "$0/usr/sbin/pvenat" "$@"' "$scratch" "$@"
}

# What it finds on this node: by the installed program, or by the one inside the package.
show() {
  echo
  run status --no-color || true
  echo
  run list --no-color || true
  cat <<'X'

Next: begin the comment of a firewall rule with NAT (man pvenat-comments), then
  pvenat check     what is wrong with such rules, and what to type instead
  pvenat list      what leads where
  pvenat rollback  takes everything out again
X
}

lent=
start=/usr/lib/pvenat/start
program=$(command -v pvenat) || true
if [ -n "$dry_run" ] && [ -z "$quiet" ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  dpkg-deb -x "$package" "$scratch"
  program=$scratch/usr/sbin/pvenat
  start=$scratch$start
fi
if [ -n "$quiet" ]; then
  :
elif [ -x "$own" ] || [ -x /usr/bin/node ] || lend_node; then
  show
else
  echo 'what would be in force cannot be shown: that takes Node.js, which cannot be had for a look:'
  tail -n 3 "$scratch/log"
  echo 'with nodejs installed, --dry-run shows it, and touches nothing either'
fi
if [ -n "$dry_run" ]; then say "nothing was touched"; fi
echo "$outcome"
