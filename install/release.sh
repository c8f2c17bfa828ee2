#!/bin/sh
# Makes what a release consists of, in dist/release: the bundle, the package and their checksums. Tags and pushes nothing.
#   npm run release
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

die() {
  echo "release: $*" >&2
  exit 1
}

version=$(node -p 'require("./package.json").version')
[ -z "$(git status --porcelain)" ] || die 'there are changes that are not committed'
[ "$(node -p 'require("./package-lock.json").version')" = "$version" ] || die 'package-lock.json has another version'
date=$(node install/changelog.mjs "$version") || exit 1
[ -n "$date" ] || die "CHANGELOG.md has no date for $version; write: ## $version (YYYY-MM-DD)"

npm run --silent deb
rm -rf dist/release
mkdir -p dist/release
cp dist/pvenat.cjs "dist/pvenat_${version}_all.deb" dist/release/
cd dist/release
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
