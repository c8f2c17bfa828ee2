#!/bin/sh
# Tests everything: the demo, then `npm test` (format, lint, types, unit tests, real packets on both backends).
#   sh test/run.sh
# For Debian 12 or 13, as root; what is missing is installed first. The last line says "N passed, N failed".
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
. install/prepare.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# watched NAME COMMAND...: runs it with its output shown and kept; its exit code goes to NAME.code.
watched() {
  name=$1
  shift
  { "$@" </dev/null 2>&1 && echo 0 >"$scratch/$name.code" || echo $? >"$scratch/$name.code"; } | tee "$scratch/$name.log"
}

watched demo sh install/demo.sh
watched npm npm test
demo=$(cat "$scratch/demo.code")
npm=$(cat "$scratch/npm.code")

# vitest sums each of its runs up in a line like "Tests  1 failed | 41 passed | 2 skipped (44)".
count() {
  escape=$(printf '\033')
  sed "s/$escape\[[0-9;]*m//g" "$scratch/npm.log" |
    sed -n "s/^ *Tests .*[^0-9]\([0-9][0-9]*\) $1.*/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'
}
passed=$(count passed)
failed=$(count failed)

echo
if [ "$demo" -eq 0 ]; then
  passed=$((passed + 1))
else
  echo "the demo failed (exit $demo)"
  failed=$((failed + 1))
fi
if [ "$npm" -ne 0 ]; then
  echo "npm test failed (exit $npm)"
  # It may have ended before any test, at the format, say.
  [ "$(count failed)" -gt 0 ] || failed=$((failed + 1))
fi
[ "$npm" -ne 0 ] || [ "$demo" -eq 0 ] || npm=1
echo "$passed passed, $failed failed"
exit "$npm"
