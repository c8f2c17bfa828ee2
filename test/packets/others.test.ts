// Filters of others on the way: what explain says of them is what they do, and the line that it prints lets the packet pass.
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { saveInPlace, waitFor } from '../lab/index.ts'
import { SEED } from '../seed.ts'
import { testNode } from './node.ts'

const node = testNode('legacy', {
  pvenat: 'apply',
  serve: ['105:22/tcp', '108:80/tcp', 'inet:443/tcp'],
  prepare: ({ lab }) => lab.ip('pve', ['link add vmbr9 type bridge']),
})

interface Said {
  gets: string
  steps: { verdict: string; sentence: string; restsOn: string[]; fix?: { commands: string[] } }[]
}
type Question = [from: string, as: string, to: string]
const FORWARD: Question = ['inet', '203.0.113.1', '203.0.113.2:1022']
const SHOP: Question = ['inet', '198.51.100.7', '203.0.113.2:8080']
const EGRESS: Question = ['105', '10.10.10.105', '203.0.113.1:443']

const explain = async ([, as, to]: Question): Promise<Said> =>
  JSON.parse((await node.pvenat.run('explain', 'tcp', as, to, '--json')).stdout) as Said
const isAnswered = async ([from, as, to]: Question): Promise<boolean> =>
  typeof (await node.call(from, to, { from: as, timeoutMs: 300 })) === 'object'

/** Has other rules in the node's kernel while `look` looks. */
async function beside(put: string, take: string, look: () => Promise<void>): Promise<void> {
  await node.sh(put)
  await look().finally(() => node.sh(take))
}

const json = (name: string): string =>
  `nft -j -f - <<'EOF'\n${readFileSync(`fixtures/nftables/${name}.json`, 'utf8')}\nEOF`

test.each<[name: string, put: string, take: string, question: Question, gets: string]>([
  ['firewalld, a forward', json('firewalld'), 'nft delete table inet firewalld', FORWARD, 'through'],
  ['firewalld, egress', json('firewalld'), 'nft delete table inet firewalld', EGRESS, 'stopped'],
  [
    'firewalld, a guest behind a firewall bridge',
    json('firewalld'),
    'nft delete table inet firewalld',
    ['107', '10.10.10.107', '203.0.113.2:1022'],
    'stopped',
  ],
  ['libvirt', json('libvirt'), 'nft delete table ip libvirt_network', FORWARD, 'through'],
  [
    'DOCKER-USER of the other backend',
    'iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -p tcp -m multiport --dports 22,23 -j DROP; iptables-nft -A FORWARD -j DOCKER-USER',
    'iptables-nft -F FORWARD; iptables-nft -F DOCKER-USER; iptables-nft -X DOCKER-USER',
    FORWARD,
    'stopped',
  ],
  [
    'a rule of the same tables that refuses answers',
    'iptables-legacy -A FORWARD -s 10.10.10.105 -p tcp --sport 22 -j REJECT',
    'iptables-legacy -D FORWARD -s 10.10.10.105 -p tcp --sport 22 -j REJECT; iptables-legacy -D FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    FORWARD,
    'stopped',
  ],
])('%s', async (_, put, take, question, gets) => {
  await beside(put, take, async () => {
    const said = await explain(question)
    expect(said.gets, JSON.stringify(said.steps)).toBe(gets)
    expect(await isAnswered(question)).toBe(gets === 'through')
    if (gets === 'through') return
    const fix = said.steps.at(-1)?.fix?.commands ?? []
    expect(fix).not.toEqual([])
    await node.sh(fix.join('\n'))
    expect(await explain(question)).toMatchObject({ gets: 'through' })
    await waitFor(() => isAnswered(question), { what: 'an answer' })
  })
})

/** A table of nft with one base chain, put and taken away. */
const table = (family: string, head: string, rule: string): [put: string, take: string] => [
  `nft -f - <<'EOF'\ntable ${family} somebody {\n chain one {\n type filter hook ${head}\n ${rule}\n }\n}\nEOF`,
  `nft delete table ${family} somebody`,
]
const iptables = (words: string, backend = 'legacy'): [put: string, take: string] => [
  `iptables-${backend} ${words}`,
  `iptables-${backend} ${words.replace('-A', '-D')}`,
]

/** As a step names what it rests on, by the command that put it there. */
function nameOf(put: string): string {
  const [, its, chain] = / -t (\w+) (-A \w+)/.exec(put) ?? []
  if (its !== undefined) return `${its} ${chain}`
  if (put.includes('ebtables')) return 'bridge filter OUTPUT'
  if (put.includes('forwarding')) return 'forwarding = 0'
  return put.includes('somebody') ? 'somebody' : 'ip route get'
}

// No hook of the kernel is passed by: where nothing can be typed that spares the packet alone, the rule is named.
test.each<[name: string, rules: [put: string, take: string], gets: string]>([
  ['the first PREROUTING', table('ip', 'prerouting priority -310', 'ip saddr 203.0.113.1 drop'), 'stopped'],
  [
    'PREROUTING behind DNAT',
    table('inet', 'prerouting priority -50', 'ip daddr 10.10.10.105 drop'),
    'stopped',
  ],
  ['POSTROUTING', table('inet', 'postrouting priority 0', 'tcp dport 22 drop'), 'stopped'],
  [
    'answers in PREROUTING',
    table('ip', 'prerouting priority -150', 'iifname vmbr1 tcp sport 22 drop'),
    'stopped',
  ],
  ['answers in POSTROUTING', table('ip', 'postrouting priority 300', 'ip saddr 203.0.113.2 drop'), 'stopped'],
  ['no connection tracking', table('ip', 'prerouting priority -300', 'tcp dport 1022 notrack'), 'stopped'],
  ['answers without tracking', table('ip', 'prerouting priority -300', 'tcp sport 22 notrack'), 'stopped'],
  [
    'the wire for all families',
    table('inet', 'ingress device eth0 priority 0;', 'tcp dport 1022 drop'),
    'wire',
  ],
  ['a bridge', table('bridge', 'output priority 0', 'ip daddr 10.10.10.105 tcp dport 22 drop'), 'stopped'],
  [
    'answers on a bridge',
    table('bridge', 'output priority 0', 'ip saddr 203.0.113.2 tcp sport 1022 drop'),
    'stopped',
  ],
  ['answers from a port', table('ip', 'postrouting priority 300', 'tcp sport 1022 drop'), 'stopped'],
  ['the wire', table('netdev', 'ingress device eth0 priority 0;', 'tcp dport 1022 drop'), 'wire'],
  [
    'ebtables',
    iptables('-A OUTPUT -p ip --ip-dst 10.10.10.105 -j DROP').map((one) =>
      one.replace('iptables-legacy', 'ebtables-nft'),
    ) as [string, string],
    'unknown',
  ],
  ['raw', iptables('-t raw -A PREROUTING -s 203.0.113.0/24 -j DROP'), 'stopped'],
  [
    'raw, by a set',
    iptables('-t raw -A PREROUTING -m set ! --match-set nobody src -j DROP').map((one, i) =>
      i === 0 ? `ipset create nobody hash:ip; ${one}` : `${one}; ipset destroy nobody`,
    ) as [string, string],
    'unknown',
  ],
  ['raw without tracking', iptables('-t raw -A PREROUTING -p tcp --dport 1022 -j CT --notrack'), 'stopped'],
  [
    'raw without tracking of answers',
    iptables('-t raw -A PREROUTING -p tcp --sport 22 -j CT --notrack'),
    'stopped',
  ],
  ['mangle PREROUTING', iptables('-t mangle -A PREROUTING -p tcp --dport 1022 -j DROP', 'nft'), 'stopped'],
  ['mangle FORWARD', iptables('-t mangle -A FORWARD -p tcp --dport 22 -j DROP'), 'stopped'],
  ['mangle POSTROUTING', iptables('-t mangle -A POSTROUTING -p tcp --dport 22 -j DROP'), 'stopped'],
  ['a rule for others', iptables('-t mangle -A POSTROUTING -p tcp --dport 23 -j DROP'), 'through'],
  [
    'a route to nowhere',
    ['ip route add blackhole 203.0.113.1', 'ip route del blackhole 203.0.113.1'],
    'stopped',
  ],
  [
    'an uplink that does not forward',
    ['sysctl -qw net.ipv4.conf.vmbr0.forwarding=0', 'sysctl -qw net.ipv4.conf.vmbr0.forwarding=1'],
    'stopped',
  ],
  [
    'a bridge that does not forward',
    ['sysctl -qw net.ipv4.conf.vmbr1.forwarding=0', 'sysctl -qw net.ipv4.conf.vmbr1.forwarding=1'],
    'stopped',
  ],
])('%s is not passed by', async (_, [put, take], judged) => {
  await beside(put, take, async () => {
    // The nft of Debian 13 tells at which interface a chain is, that of Debian 12 does not.
    const isTold = async () => (await node.sh('nft -j list ruleset')).includes('"dev"')
    const gets = judged !== 'wire' ? judged : (await isTold()) ? 'stopped' : 'unknown'
    const said = await explain(FORWARD)
    expect(said.gets, JSON.stringify(said.steps)).toBe(gets)
    expect(await isAnswered(FORWARD)).toBe(gets === 'through')
    const last = gets === 'unknown' ? 'unknown' : 'stop'
    const because = said.steps
      .filter(({ verdict: word }) => word === last)
      .map(({ restsOn }) => restsOn.join())
    if (gets !== 'through') expect(because.join()).toContain(nameOf(put))
  })
  await waitFor(() => isAnswered(FORWARD), { what: 'an answer' })
})

test('a bridge that keeps its guests apart stops what stays on it', async () => {
  const [put, take] = table('bridge', 'forward priority 0', 'ip daddr 10.10.10.105 tcp dport 22 drop')
  const neighbour: Question = ['108', '10.10.10.108', '10.10.10.105:22']
  expect((await explain(neighbour)).gets).toBe('through')
  await beside(put, take, async () => {
    expect((await explain(neighbour)).gets).toBe('stopped')
    expect(await isAnswered(neighbour)).toBe(false)
  })
})

test('the line that lets a packet pass is for what is routed to the guests’ bridge, and does so', async () => {
  const asked: Question = ['inet', '203.0.113.1', '203.0.113.2:1022']
  const rule = '-A FORWARD -p tcp --dport 22 -j DROP'
  await beside(
    `iptables-nft ${rule}`,
    `iptables-nft ${rule.replace('-A', '-D')}; iptables-nft -F FORWARD`,
    async () => {
      const fix = (await explain(asked)).steps.at(-1)?.fix?.commands ?? []
      expect(fix.join()).toMatch(/-o vmbr1 /)
      await node.sh(fix.join('\n'))
      expect(await isAnswered(asked)).toBe(true)
    },
  )
})

/** Conditions and verdicts as nft and iptables have them. */
const verdict = fc.constantFrom('accept', 'drop', 'return', 'jump other', 'continue')
const condition = fc.constantFrom(
  '',
  'ip daddr 10.10.10.105',
  'ip saddr { 203.0.113.0/24, 198.51.100.1-198.51.100.9 }',
  'ip saddr != 10.10.10.0/24',
  'th dport { 22, 440-450 }',
  'th dport != 80',
  'iifname "vmbr0"',
  'oifname { "vmbr0", "eth*" }',
  'ct status dnat',
  'ct state new',
  'ct state { established, related }',
  'meta l4proto { udp, tcp }',
  'meta l4proto { udp, icmp }',
  'meta mark 0',
)
const nativeRules = fc.array(fc.tuple(condition, condition, verdict), { maxLength: 5 })
const ruleset = fc.tuple(nativeRules, nativeRules, fc.constantFrom('accept', 'drop'))

test('random tables of nft: what explain is sure of is so', async () => {
  const sample = fc.sample(ruleset, { numRuns: 8, seed: SEED })
  const sure = { through: 0, stopped: 0, unknown: 0 } as Record<string, number>
  for (const [base, other, policy] of sample) {
    const lines = (rules: typeof base, isOther: boolean) =>
      rules
        .filter(([, , end]) => !isOther || !end.startsWith('jump'))
        .map((words) => `    ${words.filter((word) => word !== '').join(' ')}`)
    const text = [
      'table inet somebody {',
      '  chain other {',
      ...lines(other, true),
      '  }',
      '  chain forward {',
      `    type filter hook forward priority 5; policy ${policy};`,
      ...lines(base, false),
      '  }',
      '}',
    ].join('\n')
    await beside(`nft -f - <<'EOF'\n${text}\nEOF`, 'nft delete table inet somebody', async () => {
      for (const question of [FORWARD, SHOP, EGRESS]) {
        const [said, answered] = await Promise.all([explain(question), isAnswered(question)])
        sure[said.gets] = (sure[said.gets] ?? 0) + 1
        if (said.gets === 'unknown') continue
        expect({ answered, said: said.gets }, `${text}\n${JSON.stringify([question, said.steps])}`).toEqual({
          answered: said.gets === 'through',
          said: said.gets,
        })
      }
    })
  }
  expect(Math.min(sure['through'] ?? 0, sure['stopped'] ?? 0), JSON.stringify(sure)).toBeGreaterThan(3)
}, 120_000)

describe('the backend', () => {
  const fresh = testNode('nft', { serve: ['105:22/tcp'] })
  const status = async () =>
    JSON.parse((await fresh.pvenat.run('status', '--json')).stdout) as { backend: string; backendWhy: string }
  const means = (backend: string) =>
    fresh.sh(`ln -sf /usr/sbin/iptables-${backend} /etc/alternatives/iptables`)

  test('is what plain iptables means, but not where nft itself made a table of that name', async () => {
    await saveInPlace(fresh.tree, 'pvenat.conf', '[nat]\n')
    await means('legacy')
    expect(await status()).toMatchObject({
      backend: 'legacy',
      backendWhy: 'plain iptables is iptables-legacy',
    })
    await means('nft')
    expect(await status()).toMatchObject({ backend: 'nft', backendWhy: 'plain iptables is iptables-nft' })
    await fresh.sh(`nft -f - <<'EOF'
table ip nat {
  chain POSTROUTING {
    type nat hook postrouting priority 50
    ip saddr 10.99.0.0/16 oifname "vmbr0" masquerade
  }
}
EOF`)
    expect(await status()).toMatchObject({
      backend: 'legacy',
      backendWhy: expect.stringMatching(/but table ip nat was made by nft itself/) as string,
    })
    await fresh.apply()
    expect(await fresh.ask(1022)).toMatchObject({ server: '105' })
  })
})
