#!/bin/sh
# Shows pvenat at work, on a Proxmox VE node made of network namespaces; the machine's own tables are not touched.
#   sh install/demo.sh [--backend legacy|nft]             a story; exit 0 only when every step was seen to work
#   sh install/demo.sh [--backend legacy|nft] --shell     a shell on that node, to try it yourself
# The story itself is test/demo/demo.ts. In a clone the demo is built first; the archive of a release holds it built.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
. install/prepare.sh

is_clone=
[ ! -e test/demo/demo.ts ] || is_clone=yes
want_lab
[ -z "$is_clone" ] || want_npm
install_missing
load_bridge_filter
if [ -n "$is_clone" ]; then
  install_modules
  npm run --silent build
  node install/build-demo.mjs
fi
exec node dist/demo/demo.mjs "$@"
