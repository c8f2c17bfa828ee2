// Filters of others on the way: what explain says of them is what they do, and the line that it prints lets the packet pass.
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { saveInPlace, waitFor } from '../lab/index.ts'
import { SEED } from '../seed.ts'
import { testNode } from './node.ts'
import { nameOf, OTHER_RULES, table } from './other-rules.ts'

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

// No hook of the kernel is passed by: where nothing can be typed that spares the packet alone, the rule is named.
test.each(OTHER_RULES)('%s is not passed by', async (_, [put, take], judged) => {
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

test('a table of others that translates the source first is told', async () => {
  const chain = 'type nat hook postrouting priority 99; oifname vmbr0 snat to 203.0.113.77;'
  await beside(
    `nft 'table ip somebody { chain one { ${chain} }; }'`,
    'nft delete table ip somebody',
    async () => {
      const { gets, steps } = await explain(EGRESS)
      expect(gets).toBe('unknown')
      expect(steps.map(({ sentence }) => sentence).join()).toContain(
        'translates its source, too, and may come first',
      )
      expect(await isAnswered(EGRESS)).toBe(false)
    },
  )
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
