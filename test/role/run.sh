#!/bin/sh
# Runs the Ansible role on Debian 12 and 13, with the Ansible of each; by hand, some minutes.
#   npm run role
# For Debian 12 or 13, as root; what is missing is installed first.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/../.."
. install/prepare.sh
prepare_tests
exec npx vitest run --project role
