#!/bin/sh
# Asks packets under the kernels of Debian 12 and 13, in QEMU; some minutes for each kernel.
#   npm run qemu                 SUITE=trixie npm run qemu
# For Debian 12 or 13, as root; what is missing is installed first.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/../.."
. install/prepare.sh
want_kernels
prepare_tests
npm run build
exec npx vitest run --project qemu
