// An ipset of Proxmox VE as an own kernel set: members change without a rule being touched, and the set goes with its last rule.
import { describe, expect, test } from 'vitest'
import { backends, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

describe.each(backends)('an ipset as a source, %s', (backend) => {
  const node = testNode(backend, {
    rules: { 'firewall/105.fw': ['IN ACCEPT -source +dc/trusted -p tcp -dport 22 # NAT 2200'] },
    serve: ['105:22/tcp'],
    pvenat: 'run',
  })

  const opens = async (from: string) => typeof (await node.ask(2200, { from, timeoutMs: 200 })) === 'object'
  const nat = () => node.sh(`iptables-${backend}-save -c -t nat`)
  const sets = () => node.sh('ipset list -n')

  test('a member that comes or goes counts at once, and no rule is written', async () => {
    expect(await opens('198.51.100.7')).toBe(true)
    expect(await opens('192.0.2.9')).toBe(false)
    const counted = /\[[1-9]\d*:\d+\] -A PVENAT-DNAT [^\n]*--dport 2200/
    expect(await nat()).toMatch(counted)
    await node.edit('firewall/cluster.fw', (text) => text.replace('198.51.100.7\n', '192.0.2.9\n'))
    await waitFor(() => opens('192.0.2.9'))
    expect(await opens('198.51.100.7')).toBe(false)
    // A chain that is written anew counts from nothing; one packet came since.
    const [, packets = '0'] = /\[(\d+):\d+\] -A PVENAT-DNAT [^\n]*--dport 2200/.exec(await nat()) ?? []
    expect(Number(packets)).toBeGreaterThan(1)
  })

  test('nobody’s set is no set', async () => {
    expect(await sets()).toMatch(/^pvenat-0-/m)
    await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 1022')
    await waitFor(async () => !/^pvenat-0-/m.test(await sets()))
  })
})
