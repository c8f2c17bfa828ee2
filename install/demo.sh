#!/bin/sh
# Shows pvenat at work, on a Proxmox VE node made of network namespaces; the machine's own tables are not touched.
#   sh install/demo.sh [--backend legacy|nft]             a story; exit 0 only when every step was seen to work
#   sh install/demo.sh [--backend legacy|nft] --shell     a shell on that node, to try it yourself
# The story itself is test/demo/demo.ts.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
. install/prepare.sh

npm run --silent build
# Two folders down, as test/lab is: from there the lab finds the fixtures and, beside it, its agent.
mkdir -p dist/demo
cp test/lab/agent.mjs dist/demo/
node_modules/.bin/esbuild test/demo/demo.ts --bundle --packages=external --platform=node --format=esm \
  --log-level=warning --outfile=dist/demo/demo.mjs
exec node dist/demo/demo.mjs "$@"
