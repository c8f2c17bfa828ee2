// Every kind of rule is needed: taken away alone, it changes the answer to a packet; the next pass brings it back.
import { expect, test } from 'vitest'
import { onBothAtOnce, testNode } from './node.ts'

interface Kind {
  table: 'raw' | 'filter' | 'nat'
  chain: string
  /** Tells the rule among those of its chain, as iptables -S prints it. */
  rule: RegExp
  from: string
  to: string
}

const KINDS: Record<string, Kind> = {
  'the zone of the firewall bridges': {
    table: 'raw',
    chain: 'PVENAT-ZONE',
    rule: /CT --zone/,
    from: '107',
    to: '203.0.113.1:443',
  },
  'the way past nat on firewall bridges': {
    table: 'nat',
    chain: 'PVENAT-PREROUTING',
    rule: /fwbr\+.*RETURN/,
    from: '107',
    to: '203.0.113.2:8080',
  },
  'the external address': {
    table: 'nat',
    chain: 'PVENAT-PREROUTING',
    rule: /-d 203.*-j PVENAT-DNAT/,
    from: 'inet',
    to: '203.0.113.2:8080',
  },
  'a forward': {
    table: 'nat',
    chain: 'PVENAT-DNAT',
    rule: /--dport 8080 /,
    from: 'inet',
    to: '203.0.113.2:8080',
  },
  'a shifted range': {
    table: 'nat',
    chain: 'PVENAT-DNAT',
    rule: /--dport 15000:15009/,
    from: 'inet',
    to: '203.0.113.2:15003/udp',
  },
  'access from the node': {
    table: 'nat',
    chain: 'PVENAT-OUTPUT',
    rule: /-d 203/,
    from: 'pve',
    to: '203.0.113.2:8080',
  },
  'the hairpin': {
    table: 'nat',
    chain: 'PVENAT-POSTROUTING',
    rule: /ctstate DNAT.*MASQUERADE/,
    from: '105',
    to: '203.0.113.2:8080',
  },
  'the masquerade': {
    table: 'nat',
    chain: 'PVENAT-POSTROUTING',
    rule: /-o vmbr0.*MASQUERADE/,
    from: '105',
    to: '203.0.113.1:443',
  },
  'the accept of an -sport rule': {
    table: 'filter',
    chain: 'PVENAT-FORWARD',
    rule: /--dport 22 .*ACCEPT/,
    from: 'inet',
    to: '203.0.113.2:822',
  },
  'the way of a guest to itself': {
    table: 'nat',
    chain: 'PVENAT-PREROUTING',
    rule: /match-set pvenat-self/,
    from: '105',
    to: '203.0.113.2:1022',
  },
  'the way back into the forwards': {
    table: 'nat',
    chain: 'PVENAT-PREROUTING',
    rule: /-i pvenat1/,
    from: '105',
    to: '203.0.113.2:1022',
  },
  'the source on the way through the loop': {
    table: 'nat',
    chain: 'PVENAT-POSTROUTING',
    rule: /-o pvenat0/,
    from: '105',
    to: '203.0.113.2:1022',
  },
  'the source behind the loop': {
    table: 'nat',
    chain: 'PVENAT-POSTROUTING',
    rule: /-s 169\.254\.77\.2/,
    from: '105',
    to: '203.0.113.2:1022',
  },
  'the hook of raw PREROUTING': {
    table: 'raw',
    chain: 'PREROUTING',
    rule: /-j PVENAT-ZONE/,
    from: '107',
    to: '203.0.113.1:443',
  },
  'the hook of filter FORWARD': {
    table: 'filter',
    chain: 'FORWARD',
    rule: /-j PVENAT-FORWARD/,
    from: 'inet',
    to: '203.0.113.2:822',
  },
  'the hook of nat PREROUTING': {
    table: 'nat',
    chain: 'PREROUTING',
    rule: /-j PVENAT-PREROUTING/,
    from: 'inet',
    to: '203.0.113.2:8080',
  },
  'the hook of nat OUTPUT': {
    table: 'nat',
    chain: 'OUTPUT',
    rule: /-j PVENAT-OUTPUT/,
    from: 'pve',
    to: '203.0.113.2:8080',
  },
  'the hook of nat POSTROUTING': {
    table: 'nat',
    chain: 'POSTROUTING',
    rule: /-j PVENAT-POSTROUTING/,
    from: '105',
    to: '203.0.113.1:443',
  },
}

onBothAtOnce('every kind of rule is needed', (backend) => {
  const node = testNode(backend, {
    firewall: true,
    foreign: true,
    pvenat: 'apply',
    serve: ['inet:443/tcp', '105:22/tcp', '107:22/tcp', '108:80/tcp', '108:5003/udp'],
  })

  test.each(Object.entries(KINDS))('%s', async (_, { table, chain, rule, from, to }) => {
    const ask = () => node.call(from, to, { timeoutMs: 300 })
    const iptables = (...words: string[]) =>
      node.lab.exec('pve', [`iptables-${backend}`, '-w', '-t', table, ...words])
    const right = await ask()
    expect(right).toHaveProperty('server')
    const rules = (await iptables('-S', chain)).stdout.split('\n').filter((line) => line.startsWith('-A'))
    const at = rules.findIndex((line) => rule.test(line))
    expect(at).toBeGreaterThanOrEqual(0)
    await iptables('-D', chain, String(at + 1))
    const wrong = await ask()
    expect(typeof wrong === 'string' ? wrong : wrong.server + wrong.seenAs).not.toBe(
      typeof right === 'string' ? right : right.server + right.seenAs,
    )
    expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 3 })
    expect(await node.pvenat.run('apply')).toMatchObject({ exitCode: 0 })
    expect(await ask()).toMatchObject({ server: (right as { server: string }).server })
  })
})
