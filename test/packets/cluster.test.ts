// A cluster: rules follow a guest that migrates round three nodes, and nothing else blinks.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  clusterGuest,
  ClusterTree,
  createClusterLab,
  members,
  Pvenat,
  Prober,
  saveInPlace,
  saveLikeGui,
  snapshot,
  waitFor,
  type Lab,
  type Member,
} from '../lab/index.ts'
import { check, toldUntil } from './told.ts'

interface Row {
  state: string
  comment: string
  packets: number
}

interface Move {
  from: Member
  to: Member
  /** Live migration moves the guest first, then the config; a guest that is off the other way round. */
  first: 'guest' | 'config'
  /** How long .vmlist knows nothing of the guest. */
  gapMs: number
}

const MOVED_WITHIN_MS = 2000
/** The most that a node waits which is not told of a change, as pmxcfs tells no node what another one wrote. */
const SETTINGS = ''
/** Makes the service on such a node: its watcher sees nothing. */
const DEAF = { env: { CHOKIDAR_USEPOLLING: '1', CHOKIDAR_INTERVAL: '3600000' } }

const [pve1, pve2, pve3] = members
const moves: Move[] = [
  { from: pve1, to: pve2, first: 'guest', gapMs: 0 },
  { from: pve2, to: pve3, first: 'config', gapMs: 150 },
  { from: pve3, to: pve1, first: 'guest', gapMs: 150 },
]

describe.each(backends)('a cluster on %s', (backend) => {
  const traveller = clusterGuest(107, 'qemu', backend === 'legacy')
  const nodes = new Map<Member, Pvenat>()
  const before = new Map<Member, string>()
  let lab: Lab
  let tree: ClusterTree

  beforeAll(async () => {
    lab = await createClusterLab()
    tree = await ClusterTree.create()
    const file = 'nodes/pve1/qemu-server/107.conf'
    const config = await readFile(join(tree.dir, file), 'utf8')
    if (!traveller.firewall) await saveInPlace(tree.dir, file, config.replace(',firewall=1', ''))
    await saveInPlace(tree.dir, 'pvenat.conf', `[nat]\nbackend = ${backend}\n${SETTINGS}\n`)
    await lab.addGuest('pve1', traveller)
    await Promise.all([
      lab.serve('inet', 'tcp', 443),
      lab.serve('107', 'tcp', 22, 80),
      ...members.map(({ resident }) => lab.serve(String(resident), 'tcp', 22)),
    ])
    for (const member of members) {
      before.set(member, await snapshot(lab, member.name))
      nodes.set(member, new Pvenat(lab, backend, tree.of(member.name), member.name, member.name))
    }
    await Promise.all([...nodes].map(([member, pvenat]) => pvenat.start(member === pve1 ? DEAF : {})))
  })
  afterAll(async () => {
    await lab.stop()
    await tree.remove()
  })

  const ask = ({ address }: Member, port: number) =>
    lab.ask('inet', 'tcp', `${address}:${port}`, { timeoutMs: 150 })
  const ask6 = ({ address6 }: Member, port: number) =>
    lab.ask('inet', 'tcp', `[${address6}]:${port}`, { timeoutMs: 150 })
  const askAll = (port: number) => Promise.all(members.map((member) => ask(member, port)))
  const said = (member: Member) => nodes.get(member)?.service?.stdout ?? ''
  const writes = (member: Member) => said(member).match(/in force:/g)?.length ?? 0
  const probe = (asked: readonly Member[]) =>
    Prober.start(
      lab,
      asked.map(({ address, resident }) => ({ endpoint: `${address}:1022`, server: String(resident) })),
    )

  /** The row of the rule whose comment begins with these words, undefined where there is none. */
  async function row(member: Member, words: string): Promise<Row | undefined> {
    const listed = await nodes.get(member)?.run('list', '--json')
    const rows = JSON.parse(listed?.stdout ?? '') as Row[]
    return rows.find(({ comment }) => comment.startsWith(words))
  }

  test('each node forwards to its own guests and to no others', async () => {
    expect(await askAll(1022)).toMatchObject([{ server: '101' }, { server: '102' }, { server: '103' }])
    expect(await askAll(1102)).toMatchObject(['refused', { server: '102' }, 'refused'])
    expect(await askAll(822)).toMatchObject([{ server: '107' }, 'refused', 'refused'])
  })

  test.each([
    [1104, 'a guest of a node that is off'],
    [9922, 'a file without a guest'],
  ])('port %i, of %s, does nothing anywhere', async (port) => {
    expect(await askAll(port)).toEqual(['refused', 'refused', 'refused'])
    for (const member of members) expect(await row(member, `NAT ${port}`)).toBeUndefined()
  })

  test.each(members)('cluster.fw lets the guests of $name out', async ({ address, resident }) => {
    const answer = await lab.ask(String(resident), 'tcp', '203.0.113.1:443')
    expect(answer).toMatchObject({ server: 'inet', seenAs: address })
  })

  test('a forward of cluster.fw is in force on every node', async () => {
    expect(await ask(pve1, 2201)).toMatchObject({ server: '101' })
    // Elsewhere the packet goes into the network of that node, where nobody has the address.
    for (const member of [pve2, pve3]) expect(['nothing', 'unreachable']).toContain(await ask(member, 2201))
    for (const member of members) {
      const found = await row(member, 'NAT 2201')
      expect(found).toMatchObject({ state: 'active' })
      expect(found?.packets).toBeGreaterThan(0)
    }
  })

  test('a forward of cluster.fw to the address of one node is in force there, and no error elsewhere', async () => {
    expect(await askAll(2202)).toMatchObject(['refused', { server: '102' }, 'refused'])
    for (const member of members) {
      const state = member === pve2 ? 'active' : 'inactive'
      expect(await row(member, 'NAT 203.0.113.3:2202')).toMatchObject({ state })
      expect(said(member)).not.toMatch(/error|warning/)
      expect(await nodes.get(member)?.run('check')).toMatchObject({ exitCode: 0 })
    }
  })

  test('elsewhere: told on each node but that of the address, and there the packet passes', async () => {
    const file = join(tree.dir, 'firewall/cluster.fw')
    const text = await readFile(file, 'utf8')
    const pvenat = nodes.get(pve1) as Pvenat
    expect((await check(nodes.get(pve2) as Pvenat)).map(({ code }) => code)).not.toContain('elsewhere')
    await toldUntil(
      pvenat,
      'elsewhere',
      /in force on the node that has 203\.0\.113\.3, not on this one/,
      () =>
        saveLikeGui(
          tree.dir,
          'firewall/cluster.fw',
          text
            .replace('-dest 10.10.10.102', '-dest 10.10.10.101')
            .replace('203.0.113.3:2202', '203.0.113.2:2202'),
        ),
    )
    const answers = (wanted: readonly unknown[]) =>
      waitFor(async () => {
        expect(await askAll(2202)).toMatchObject(wanted)
        return true
      })
    await answers([{ server: '101' }, 'refused', 'refused'])
    await saveLikeGui(tree.dir, 'firewall/cluster.fw', text)
    await answers(['refused', { server: '102' }, 'refused'])
  })

  test('the rule of a template counts like that of any guest', async () => {
    await ask(pve3, 9022)
    const found = await row(pve3, 'NAT 9022')
    expect(found).toMatchObject({ state: 'active' })
    expect(found?.packets).toBeGreaterThan(0)
    expect(await askAll(9022)).toMatchObject(['refused', 'refused', expect.not.stringMatching('refused')])
  })

  test.each(moves)('from $from.name to $to.name, the $first first, a gap of $gapMs ms', async (move) => {
    const { from, to, first, gapMs } = move
    const bystanders = members.filter((member) => member !== from && member !== to)
    const before = bystanders.map(writes)
    const stale = await lab.stream('inet', `${from.address}:822`)
    expect(stale.answer).toMatchObject({ server: '107' })
    const prober = await probe(members)

    const migrate = () => lab.migrateGuest(from.name, to.name, traveller)
    if (first === 'guest') await migrate()
    const start = performance.now()
    const within = async (what: string, fn: () => Promise<boolean>) => {
      await waitFor(fn, { what, timeoutMs: MOVED_WITHIN_MS })
      return Math.round(performance.now() - start)
    }
    const [stopped, , started, started6] = await Promise.all([
      // The node itself refuses: nobody serves there. A forward to a guest that has gone is silence.
      within(`${from.name} to stop`, async () => (await ask(from, 822)) === 'refused'),
      within(`${from.name} to stop IPv6`, async () => (await ask6(from, 822)) === 'refused'),
      within(`${to.name} to start`, async () => typeof (await ask(to, 822)) === 'object'),
      within(`${to.name} to start IPv6`, async () => typeof (await ask6(to, 822)) === 'object'),
      tree.moveConfig(107, from.name, to.name, gapMs).then(first === 'config' ? migrate : undefined),
    ])
    console.log(`stopped after ${stopped} ms, started after ${started} ms, IPv6 after ${started6} ms`)

    expect(await ask(to, 822)).toMatchObject({ server: '107', port: 22 })
    // The group's rule that it pulls in goes with it, and so does its way out.
    expect(await ask(to, 8080)).toMatchObject({ server: '107', port: 80 })
    expect(await ask(from, 8080)).toBe('refused')
    expect(await lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: to.address })
    expect(await stale.ping(100)).toBe(false)
    await stale.close()

    const { asked, failures } = await prober.stop()
    expect(failures).toEqual([])
    expect(asked).toBeGreaterThan(members.length * 5)
    expect(bystanders.map(writes)).toEqual(before)
    for (const member of members) expect(said(member)).not.toMatch(/error|warning/)
  })

  test('a guest that .vmlist forgets for a moment keeps its forward, whatever is saved meanwhile', async () => {
    const before = writes(pve2)
    const prober = await probe([pve2])
    await tree.forget(102, async () => {
      for (const end = performance.now() + 350; performance.now() < end; await sleep(20))
        await saveLikeGui(tree.dir, 'firewall/999.fw', `# ${performance.now()}\n`)
    })
    const { failures } = await prober.stop()
    expect(failures).toEqual([])
    expect(writes(pve2)).toBe(before)
  })

  test('an edit of a guest’s file changes the node that holds it alone', async () => {
    await waitFor(async () => typeof (await ask(pve2, 1022)) === 'object')
    const before = members.map(writes)
    const text = await readFile(join(tree.dir, 'firewall/102.fw'), 'utf8')
    await saveLikeGui(tree.dir, 'firewall/102.fw', text.replace('NAT 1102', 'NAT 1112'))
    await waitFor(async () => typeof (await ask(pve2, 1112)) === 'object', { timeoutMs: MOVED_WITHIN_MS })
    expect(await askAll(1102)).toEqual(['refused', 'refused', 'refused'])
    expect([writes(pve1), writes(pve3)]).toEqual([before[0], before[2]])
  })

  test('a rollback on one node leaves the others as they are', async () => {
    const others = [pve1, pve3]
    const rules = await Promise.all(others.map(({ name }) => snapshot(lab, name)))
    const prober = await probe(others)
    expect(await nodes.get(pve2)?.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(lab, 'pve2')).toBe(before.get(pve2))
    expect(await ask(pve2, 1022)).toBe('refused')
    expect(await Promise.all(others.map(({ name }) => snapshot(lab, name)))).toEqual(rules)
    expect((await prober.stop()).failures).toEqual([])
    for (const member of others) expect(nodes.get(member)?.service?.alive).toBe(true)
    expect(await lab.ask('inet', 'tcp', '203.0.113.4:1022')).toMatchObject({ server: '103' })
  })
})
