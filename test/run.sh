#!/bin/sh
# Tests everything: the demo, then `npm test` (format, lint, types, unit tests, real packets on both backends), then
# `npm run package` (the package on Debian 12 and 13 with systemd), then the packets of both firewalls under the kernel of Debian 13.
#   sh test/run.sh
# For Debian 12 or 13, as root; what is missing is installed first. The last line says "N passed, N failed".
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
. install/prepare.sh
want_kernels
prepare_tests

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
watched package npm run package
# Last and alone: emulated, it takes all of the processor.
watched kernel env SUITE=trixie PROGRAM=firewalls npx vitest run --project qemu
demo=$(cat "$scratch/demo.code")

# vitest sums each of its runs up in a line like "Tests  1 failed | 41 passed | 2 skipped (44)".
# count WORD RUN...: how many tests of these runs passed or failed.
count() {
  word=$1
  shift
  escape=$(printf '\033')
  for run; do sed "s/$escape\[[0-9;]*m//g" "$scratch/$run.log"; done |
    sed -n "s/^ *Tests .*[^0-9]\([0-9][0-9]*\) $word.*/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'
}
passed=$(count passed npm package kernel)
failed=$(count failed npm package kernel)
result=0

echo
if [ "$demo" -eq 0 ]; then
  passed=$((passed + 1))
else
  echo "the demo failed (exit $demo)"
  failed=$((failed + 1))
  result=1
fi
for run in npm package kernel; do
  code=$(cat "$scratch/$run.code")
  [ "$code" -ne 0 ] || continue
  echo "the run of $run failed (exit $code)"
  result=1
  # It may have ended before any test, at the format, say.
  [ "$(count failed "$run")" -gt 0 ] || failed=$((failed + 1))
done
echo "$passed passed, $failed failed"
exit "$result"
