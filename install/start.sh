#!/bin/sh
# /usr/lib/pvenat/start, the interpreter of /usr/sbin/pvenat: the Node.js of pvenat-nodejs, or else Debian's, whatever PATH says.
set -eu
node=/usr/lib/pvenat/node
[ -x "$node" ] || node=/usr/bin/node
exec "$node" "$@"
