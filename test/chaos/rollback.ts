/** Rollback leaves nothing, whatever it finds, and what others have stays byte for byte. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { snapshot, tamper } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { makeRandom } from './random.ts'

const KILLS = 6

/** Other names, another structure, hooks at wrong places, twice and with conditions, in tables that we do not use, in both backends. */
const leftovers = (backend: string): string => `
for T in "iptables-${backend} -w" "ip6tables-${backend} -w"; do
  $T -t nat -N PVENAT-OLD; $T -t nat -N PVENAT-OLD-1; $T -t nat -A PVENAT-OLD -g PVENAT-OLD-1
  $T -t nat -A PVENAT-OLD-1 -p tcp --dport 99 -m comment --comment "it's \\"old\\"" -j ACCEPT
  $T -t nat -A PREROUTING -i vmbr0 -p tcp -m comment --comment "an old hook" -j PVENAT-OLD
  $T -t nat -A PREROUTING -i vmbr0 -p tcp -m comment --comment "an old hook" -j PVENAT-OLD
  $T -t nat -A FOREIGN-NAT -j PVENAT-OLD
  $T -t mangle -N PVENAT-MARK; $T -t mangle -I FORWARD 1 -g PVENAT-MARK
  $T -N PVENAT-FORWARD 2>/dev/null; $T -A FORWARD -j PVENAT-FORWARD; $T -A INPUT -j PVENAT-FORWARD; $T -I OUTPUT 1 -j PVENAT-FORWARD
done
ipset create pvenat-old hash:ip; ipset add pvenat-old 192.0.2.1; ipset create pvenat-tmp-7 hash:net
iptables-${backend} -w -t nat -A PVENAT-OLD -m set --match-set pvenat-old src -j RETURN
ip link add pvenat0 type veth peer name pvenat1 2>/dev/null
true`

export function rollbackTests(node: TestNode): void {
  const situations: Record<string, () => Promise<unknown>> = {
    'with the service running': () => Promise.resolve(),
    'with the service killed': () => node.pvenat.service?.stop('SIGKILL') ?? Promise.resolve(),
    'with the number of the service given to somebody else': async () => {
      await node.pvenat.service?.stop()
      const other = node.lab.spawn('pve', ['sleep', '60'])
      await node.sh(`echo ${other.pid} > /run/pvenat/pid`)
    },
    'with leftovers of another version, in both backends': async () => {
      await node.pvenat.service?.stop()
      const other = node.backend === 'legacy' ? 'nft' : 'legacy'
      await tamper(node.lab, node.backend, leftovers(node.backend))
      await tamper(node.lab, node.backend, `${leftovers(other).replaceAll('-A FOREIGN-NAT', '-A OUTPUT')}`)
    },
    'killed half-way again and again': async () => {
      await node.pvenat.service?.stop()
      const random = makeRandom(3)
      for (let i = 0; i < KILLS; i++) {
        const rollback = node.lab.spawn('pve', node.pvenat.argv('rollback'))
        await sleep(random.below(900))
        await rollback.stop('SIGKILL')
      }
    },
    // The last one: what is there after it is not /etc/pve any more.
    'with broken settings, without state and without /etc/pve': () =>
      node.sh(
        `echo '[[[ nonsense' > ${node.tree}/pvenat.conf; rm -rf ${node.tree}/local ${node.tree}/nodes; echo '{"sys' > /var/lib/pvenat/state.json; echo 0 > /proc/sys/net/ipv4/ip_forward; ip -6 route flush dev pvenat0; sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.vmbr0.accept_ra=1`,
      ),
  }

  test.each(Object.entries(situations))(
    '%s',
    async (situation, prepare) => {
      // Unless the service has written its state again meanwhile.
      const isLost = situation.includes('without state')
      const said = isLost ? /^(pvenat: \S+ makes no sense; the old values of sysctls are lost)?$/ : /^$/
      if (!node.pvenat.service?.alive) await node.pvenat.start()
      await node.converged()
      await prepare()
      const rolledBack = { exitCode: 0, stderr: expect.stringMatching(said) as unknown }
      expect(await node.pvenat.run('rollback')).toMatchObject(rolledBack)
      expect(await snapshot(node.lab)).toBe(node.untouched)
      expect(node.pvenat.service?.alive ?? false).toBe(false)
      expect(await node.pvenat.run('rollback')).toMatchObject({
        exitCode: 0,
        stdout: 'nothing of pvenat is in force',
      })
      expect(await snapshot(node.lab)).toBe(node.untouched)
      expect(await node.sh('ls -d /var/lib/pvenat /run/pvenat 2>/dev/null || true')).toBe('')
    },
    60_000,
  )
}
