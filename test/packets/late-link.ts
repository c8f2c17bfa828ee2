/** A link that goes between a look of the service and its write. */
import { expect, test } from 'vitest'
import { leaks, waitFor } from '../lab/index.ts'
import type { TestNode } from './node.ts'
import { patience } from './uplink-guests.ts'

/** In the place of ip: before it writes for the first time it takes eth1 down. */
const LATE_IP = `#!/bin/sh
case "$*" in *-force*) rm /run/once 2>/dev/null && /run/ip link set eth1 down ;; esac
exec /run/ip "$@"`

export function lateLinkTest(node: TestNode): void {
  const { answers, marks } = patience(node)
  test('a link that goes between a look and its write takes no marks away', async () => {
    await node.sh(`ip=$(readlink -f "$(command -v ip)"); cp "$ip" /run/ip; touch /run/once
      cat >/run/ip-late <<'EOF'\n${LATE_IP}\nEOF
      chmod +x /run/ip-late; mount --bind /run/ip-late "$ip"`)
    await node.sh('/run/ip route flush table 7702')
    const isKnown = async () => (await node.sh('cat /var/lib/pvenat/state.json')).includes('"down": true')
    await waitFor(isKnown, { what: 'the service to know' })
    await node.sh('umount -l "$(readlink -f "$(command -v ip)")"; rm /run/ip /run/ip-late')
    const { stdout = '', stderr = '' } = node.pvenat.service ?? {}
    expect(stdout + stderr).not.toContain('by the default route alone')
    expect(await marks()).toContain('--ctorigdst 192.0.2.2')
    await node.sh('ip link set eth1 up; ip addr add 2001:db8:2::2/64 dev eth1 nodad')
    for (const address of ['192.0.2.2', '[2001:db8:2::2]']) await answers(address)
    expect(await leaks(node.lab)).toEqual([])
  })
}
