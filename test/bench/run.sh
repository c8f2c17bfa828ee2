#!/bin/sh
# `npm run bench`: what pvenat costs, beside other ways to the same, in network namespaces; as root.
#   npm run bench -- [--quick] [--forwards N,N,...] [--only SECTION]... [--write FILE]
# Exit 1 when a target is not met. The bench itself is test/bench/bench.ts.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/../.."
. install/prepare.sh
prepare_tests

perl -MTime::HiRes -e1 || die 'needs all of perl; try: apt-get install perl'

npm run --silent build
# Two folders down, as test/lab is: from there the lab finds the fixtures and, beside it, its agent.
mkdir -p dist/bench
cp test/lab/agent.mjs test/lab/hanging-fs.mjs test/bench/*.pl dist/bench/
node_modules/.bin/esbuild test/bench/bench.ts --bundle --packages=external --platform=node --format=esm \
  --log-level=warning --outfile=dist/bench/bench.mjs
exec node dist/bench/bench.mjs "$@"
