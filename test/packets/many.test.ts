// Hundreds of forwards are a tree of chains: hits and misses at the edges of its leaves, and an edit while others are called.
import { describe, expect, test } from 'vitest'
import { backends, saveLikeGui, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

const HOST = 'nodes/pve1/host.fw'
/** Every second port of a stretch, and ports at the ends of nodes of every size. */
const DENSE = Array.from({ length: 280 }, (_, i) => 20_000 + 2 * i)
const EDGES = [1023, 4095, 4096, 8191, 24_575, 24_576, 32_767, 32_768, 49_151, 49_152, 65_535]
/** 16 ports that three leaves share. */
const RANGE = [30_004, 30_019] as const
const GUESTS = ['105', '108']

/** Tells from the inner port which external one was called. */
const innerPort = (external: number): number => 1 + (external % 997)
const guestOf = (i: number): string => GUESTS[i % GUESTS.length] ?? ''
const forward = (port: number, i: number, inner = innerPort(port)): string =>
  `IN ACCEPT -dest 10.10.10.${guestOf(i)} -p udp -dport ${inner} # NAT ${port}`

const SINGLE = [...DENSE, ...EDGES].map((port, i) => ({ port, guest: guestOf(i), line: forward(port, i) }))
const hostFile = (lines: readonly string[]): string =>
  `[OPTIONS]\nenable: 1\n[RULES]\n${lines.join('\n')}
IN ACCEPT -dest 10.10.10.108 -p udp -dport 5000:5015 # NAT ${RANGE[0]}-${RANGE[1]}
IN ACCEPT -dest 10.10.10.105 -source 192.0.2.9 -p udp -dport 7 # NAT 20001
IN ACCEPT -dest 10.10.10.108 -source 198.51.100.7 -p udp -dport 7 # NAT 20001
OUT ACCEPT -source 10.10.10.0/24 -dest 192.0.2.9 # NAT none
OUT ACCEPT -source 10.10.10.108 -dest 198.51.100.7 -p udp -dport 10 # NAT none
${Array.from({ length: 99 }, (_, i) => `OUT ACCEPT -source 10.10.10.${10 + i} -dest 198.51.100.0/24 # NAT`).join('\n')}
OUT ACCEPT -source 10.10.10.0/24 -p udp -dport 9 # NAT
`

describe.each(backends)('hundreds of forwards, %s', (backend) => {
  const node = testNode(backend, {
    edits: { [HOST]: () => hostFile(SINGLE.map(({ line }) => line)) },
    prepare: async ({ lab }) => {
      const portsOf = (guest: string) =>
        SINGLE.filter((one) => one.guest === guest).map(({ port }) => innerPort(port))
      const others = [7, 9, 5000, 5003, 5004, 5011, 5012, 5015]
      await Promise.all(
        GUESTS.map((guest) => lab.serve(guest, 'udp', ...new Set([...portsOf(guest), ...others]))),
      )
    },
    pvenat: 'run',
  })

  const ask = (port: number, from = '203.0.113.1') =>
    node.lab.ask('inet', 'udp', `203.0.113.2:${port}`, { from, timeoutMs: 1000 })

  /** The text of each of our chains of the nat table. */
  async function chains(): Promise<Map<string, string>> {
    const texts = new Map<string, string>()
    for (const line of (await node.sh(`iptables-${backend}-save -t nat`)).split('\n')) {
      const name = /^-A (PVENAT-\S+)/.exec(line)?.[1]
      if (name !== undefined) texts.set(name, `${texts.get(name) ?? ''}${line}\n`)
    }
    return texts
  }

  test('each port leads to its guest and its inner port', async () => {
    const answers = await Promise.all(SINGLE.map(({ port }) => ask(port)))
    const wrong = SINGLE.flatMap(({ port, guest }, i) => {
      const answer = answers[i]
      const isRight = typeof answer === 'object' && answer.server === guest && answer.port === innerPort(port)
      return isRight ? [] : [{ port, answer }]
    })
    expect(wrong).toEqual([])
  })

  test('a range is shifted in every leaf that it meets', async () => {
    for (const at of [0, 3, 4, 11, 12, 15])
      expect(await ask(RANGE[0] + at)).toMatchObject({ server: '108', port: 5000 + at })
  })

  test('who may use a port that two forwards share decides where it leads', async () => {
    expect(await ask(20_001, '192.0.2.9')).toMatchObject({ server: '105', port: 7 })
    expect(await ask(20_001, '198.51.100.7')).toMatchObject({ server: '108', port: 7 })
    expect(await ask(20_001)).toBe('refused')
  })

  test('ports beside are the node’s own', async () => {
    const misses = [1022, 1024, 4094, 4097, 19_999, 20_003, 20_559, 24_574, 24_577, 30_003, 30_020, 65_534]
    expect(await Promise.all(misses.map((port) => ask(port)))).toEqual(misses.map(() => 'refused'))
  })

  test('what goes out keeps the order of the rules: exemptions, the guest’s own, the network’s', async () => {
    await node.lab.serve('inet', 'udp', 9, 10)
    const seenAs = async (guest: string, to: string) => {
      const answer = await node.lab.ask(guest, 'udp', to, { timeoutMs: 300 })
      return typeof answer === 'object' ? answer.seenAs : answer
    }
    expect(await seenAs('105', '198.51.100.7:10')).toBe('203.0.113.2')
    expect(await seenAs('108', '198.51.100.7:9')).toBe('203.0.113.2')
    expect(await seenAs('108', '203.0.113.1:9')).toBe('203.0.113.2')
    // What is exempt arrives with an address that the internet cannot answer to.
    expect(await seenAs('108', '198.51.100.7:10')).toBe('nothing')
    expect(await seenAs('105', '192.0.2.9:9')).toBe('nothing')
  })

  test('list counts the packets of a forward, wherever its rules are', async () => {
    const { stdout } = await node.pvenat.run('list', '--json')
    const rows = JSON.parse(stdout) as { external: { ports: number[][] }; packets: number }[]
    const packetsAt = (port: number) =>
      rows.find(({ external }) => external.ports?.[0]?.[0] === port)?.packets
    expect([20_000, 20_100, 65_535, RANGE[0]].map(packetsAt)).toEqual([1, 1, 1, 6])
  })

  test('an edit writes the leaf that it is in, and no other forward misses a packet', async () => {
    const [first] = SINGLE
    const others = SINGLE.slice(1, 40)
    const failed: unknown[] = []
    let isDone = false
    const calls = (async () => {
      while (!isDone) {
        for (const { port, guest } of others) {
          const answer = await ask(port)
          if (typeof answer !== 'object' || answer.server !== guest) failed.push({ port, answer })
        }
      }
    })()
    const before = await chains()
    const lines = SINGLE.map(({ line }) => line)
    await saveLikeGui(node.tree, HOST, hostFile([forward(20_000, 0, 9), ...lines.slice(1)]))
    await waitFor(async () => {
      const answer = await ask(20_000)
      return typeof answer === 'object' && answer.port === 9
    })
    isDone = true
    await calls
    expect(first?.port).toBe(20_000)
    expect(failed).toEqual([])
    const after = await chains()
    const changed = [...after].filter(([name, text]) => before.get(name) !== text).map(([name]) => name)
    // Where it leads, and as which port its answers to others leave.
    expect(changed).toEqual([
      expect.stringMatching(/^PVENAT-DNAT-U-\d+-\d+$/),
      expect.stringMatching(/^PVENAT-\w{7}-U-\d+-\d+$/),
    ])
    expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0 })
  })
})
