# shellcheck shell=sh
# Sourced in the root of the repository by install/demo.sh and the tests. Installs the Debian packages that this machine
# lacks (Debian 12 or 13, as root), after saying which and how large. Where nothing is missing it needs no network.

die() {
  echo "$0: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || die 'needs root: it builds network namespaces; try: sudo sh '"$0"

# Debian leaves these out of the path of a user who became root by su.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

has() { command -v "$1" >/dev/null 2>&1; }

# The engines of package.json.
has_node() {
  has node && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number)
    process.exit(major > 20 || (major === 20 && minor >= 5) || (major === 18 && minor >= 19) ? 0 : 1)'
}

missing=
# want PACKAGE COMMAND...: adds the package to $missing unless all commands are there.
want() {
  package=$1
  shift
  for command; do
    has "$command" || { missing="$missing $package" && return; }
  done
}

# The lab: a node, its guests and the internet in network namespaces.
want_lab() {
  has_node || missing="$missing nodejs"
  want iptables iptables-legacy iptables-nft ip6tables-legacy ip6tables-nft
  want ipset ipset
  want conntrack conntrack
  want nftables nft
  want iproute2 ip
  want util-linux unshare nsenter setpriv flock
  want mount mount
  want procps ps sysctl
  want inotify-tools inotifywait
  [ -e /proc/sys/net/bridge ] || want kmod modprobe
  { [ -s /etc/services ] && [ -s /etc/protocols ]; } || missing="$missing netbase"
}

# npm, to build from the sources.
want_npm() {
  want npm npm
  [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -d node_modules ] || missing="$missing ca-certificates"
}

# A browser for the page; the package, and the Debian roots that it is tested in.
want_tests() {
  want chromium chromium
  want openssl openssl
  want gnupg gpg gpgconf
  want dpkg-dev dpkg-buildpackage
  want debhelper dh
  want lintian lintian
  want debootstrap debootstrap
  want shellcheck shellcheck
  want systemd systemd-analyze systemctl
  want git git
}

# Kernels of Debian, emulated.
want_kernels() {
  want qemu-system-x86 qemu-system-x86_64
  want cpio cpio
  want kmod depmod
}

# size_of PACKAGE...: what would be installed for them, as "48 packages, 116 MB".
size_of() {
  LC_ALL=C apt-get --assume-no --no-install-recommends install "$@" 2>/dev/null </dev/null |
    sed -n 's/.* \([0-9]*\) newly installed.*/\1 packages/p; s/^After this operation, \(.*\) of add.*/, \1/p' | tr -d '\n'
}

# Installs what `want` found missing.
install_missing() {
  if [ -n "$missing" ]; then
    has apt-get || die "not found, and there is no apt-get to install it:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update </dev/null >/dev/null || die 'apt-get update failed'
    # shellcheck disable=SC2086 # a list of words
    size=$(size_of $missing)
    echo "installing ${missing# } with all that they need: ${size:-of unknown size}"
    # shellcheck disable=SC2086 # a list of words
    apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 install $missing \
      </dev/null >/dev/null || die "apt-get could not install:$missing"
    missing=
    hash -r
  fi
  has_node || die "node $(node --version 2>/dev/null) at $(command -v node) is too old: 18.19 or 20.5 is needed"
}

# The lab is like a Proxmox VE node, where bridged packets pass iptables. Loading the module would switch that on for
# the machine's own bridges as well.
load_bridge_filter() {
  [ ! -e /proc/sys/net/bridge ] || return 0
  modprobe br_netfilter || die 'this kernel has no module br_netfilter, which the lab needs'
  for key in /proc/sys/net/bridge/bridge-nf-call-*tables; do echo 0 >"$key"; done
}

# Of Prometheus only the tool that reads metrics: to install the package would start its daemon.
fetch_promtool() {
  ! has promtool || return 0
  echo 'fetching promtool'
  unpacked=$(mktemp -d)
  {
    apt-get -qq update
    # From Debian 13 on it has a package of its own.
    package=$(apt-cache show promtool >/dev/null 2>&1 && echo promtool || echo prometheus)
    (cd "$unpacked" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg-deb -x "$package"_*.deb .)
    install -m 755 "$unpacked/usr/bin/promtool" /usr/local/bin/promtool
  } </dev/null >/dev/null || die 'could not fetch promtool'
  rm -rf "$unpacked"
  hash -r
}

# npm writes the second file last, so that an install that was cut short does not count.
install_modules() {
  installed=node_modules/.package-lock.json
  [ ! -e "$installed" ] || [ -n "$(find package-lock.json -newer "$installed")" ] || return 0
  echo 'installing node_modules'
  npm ci --include=dev --no-audit --no-fund </dev/null >&2 || die 'npm ci failed'
  touch "$installed"
}

# All that the tests need.
prepare_tests() {
  want_lab
  want_npm
  want_tests
  install_missing
  fetch_promtool
  load_bridge_filter
  install_modules
}
