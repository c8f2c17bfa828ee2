// A cluster: rules follow a guest that migrates round three nodes, and nothing else blinks.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
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

interface Row {
  state: string
  external: { addresses: string[] | 'any'; ports: number[][] | null }
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
    const settings = `[nat]\nbackend = ${backend}\ninterval = ${process.env.IV ?? 1}\n`
    await saveInPlace(tree.dir, 'pvenat.conf', settings)
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
    await Promise.all([...nodes.values()].map((pvenat) => pvenat.start(process.env.DEAF ? { env: { CHOKIDAR_USEPOLLING: '1', CHOKIDAR_INTERVAL: '3600000' } } : {})))
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
  const output = (member: Member) => nodes.get(member)?.service?.stdout ?? ''

  /** The row of the rule with this external port, undefined where there is none. */
  async function row(member: Member, port: number): Promise<Row | undefined> {
    const listed = await nodes.get(member)?.run('list', '--json')
    const rows = JSON.parse(listed?.stdout ?? '') as Row[]
    return rows.find(({ external }) => external.ports?.some(([lo]) => lo === port))
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
    expect(await Promise.all(members.map((member) => row(member, port)))).toEqual(Array(3).fill(undefined))
  })

  test.each(members)('cluster.fw lets the guests of $name out', async ({ address, resident }) => {
    const answer = await lab.ask(String(resident), 'tcp', '203.0.113.1:443')
    expect(answer).toMatchObject({ server: 'inet', seenAs: address })
  })

  test('a forward of cluster.fw is in force on every node', async () => {
    expect(await ask(pve1, 2201)).toMatchObject({ server: '101' })
    for (const member of members) {
      // Where the guest is not, the packet goes into an internal network that has nobody of that address.
      if (member !== pve1) expect(await ask(member, 2201)).not.toBe('refused')
      expect(await row(member, 2201)).toMatchObject({ state: 'active' })
      expect((await row(member, 2201))?.packets).toBeGreaterThan(0)
    }
  })

  test('a forward of cluster.fw that names the address of one node is in force there alone, and no error elsewhere', async () => {
    expect(await askAll(2202)).toMatchObject(['refused', { server: '102' }, 'refused'])
    for (const member of members) {
      expect(await row(member, 2202)).toMatchObject({ state: member === pve2 ? 'active' : 'inactive' })
      expect(output(member)).not.toMatch(/2202|error|warning/)
      expect(await nodes.get(member)?.run('check')).toMatchObject({ exitCode: 0 })
    }
  })

  test('the rule of a template counts like that of any guest', async () => {
    await ask(pve3, 9022)
    expect(await row(pve3, 9022)).toMatchObject({ state: 'active' })
    expect((await row(pve3, 9022))?.packets).toBeGreaterThan(0)
    expect(await row(pve1, 9022)).toBeUndefined()
  })

  test.each(moves)(
    'from $from.name to $to.name, $first first, gap $gapMs ms',
    async ({ from, to, first, gapMs }) => {
      const elsewhere = members.filter((member) => member !== from && member !== to)
      const quiet = elsewhere.map((member) => output(member))
      const stale = await lab.stream('inet', `${from.address}:822`)
      const prober = await Prober.start(
        lab,
        members.map(({ address, resident }) => ({ endpoint: `${address}:1022`, server: String(resident) })),
      )
      expect(await ask(from, 822)).toMatchObject({ server: '107' })
      const moveGuest = () => lab.migrateGuest(from.name, to.name, traveller)
      if (first === 'guest') await moveGuest()
      const start = performance.now()
      const moved = tree.moveConfig(107, from.name, to.name, gapMs).then(first === 'config' ? moveGuest : undefined)
      const until = async (what: string, fn: () => Promise<boolean>) => {
        await waitFor(fn, { what, timeoutMs: Number(process.env.TMO??MOVED_WITHIN_MS) })
        return Math.round(performance.now() - start)
      }
      const [stopped, started, started6] = await Promise.all([
        until(`${from.name} to stop`, async () => (await ask(from, 822)) === 'refused'),
        until(`${to.name} to start`, async () => typeof (await ask(to, 822)) === 'object'),
        until(`${to.name} to start IPv6`, async () => typeof (await ask6(to, 822)) === 'object'),
        moved,
      ])
      console.log(`${backend} ${from.name} to ${to.name}: stopped after ${stopped} ms, started after ${started} ms, IPv6 ${started6} ms`)
      expect(await ask(to, 822)).toMatchObject({ server: '107', port: 22 })
      expect(await ask6(from, 822)).toBe('refused')
      // The rule of the group that it pulls in goes with it, and so does its way out.
      expect(await ask(to, 8080)).toMatchObject({ server: '107', port: 80 })
      expect(await ask(from, 8080)).toBe('refused')
      expect(await lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: to.address })
      expect(await stale.ping(300)).toBe(false)
      await stale.close()
      const probed = await prober.stop()
      console.log(probed)
      expect(probed.failures).toEqual([])
      expect(probed.asked).toBeGreaterThan(30)
      expect(elsewhere.map((member) => output(member))).toEqual(quiet)
      for (const member of members) console.log(member.name, output(member))
    },
  )

  test('an edit of a guest’s file is heard by the node that holds it alone', async () => {
    const said = members.map((member) => output(member))
    const text = await readFile(join(tree.dir, 'firewall/102.fw'), 'utf8')
    await saveLikeGui(tree.dir, 'firewall/102.fw', text.replace('NAT 1102', 'NAT 1112'))
    await waitFor(async () => typeof (await ask(pve2, 1112)) === 'object', { timeoutMs: MOVED_WITHIN_MS })
    expect(await askAll(1102)).toEqual(['refused', 'refused', 'refused'])
    expect([output(pve1), output(pve3)]).toEqual([said[0], said[2]])
  })

  test('a rollback on one node leaves the others as they are', async () => {
    const others = [pve1, pve3]
    const rules = await Promise.all(others.map(({ name }) => snapshot(lab, name)))
    const prober = await Prober.start(
      lab,
      others.map(({ address, resident }) => ({ endpoint: `${address}:1022`, server: String(resident) })),
    )
    expect(await nodes.get(pve2)?.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(lab, 'pve2')).toBe(before.get(pve2))
    expect(await ask(pve2, 1022)).toBe('refused')
    expect(await Promise.all(others.map(({ name }) => snapshot(lab, name)))).toEqual(rules)
    expect((await prober.stop()).failures).toEqual([])
    expect(others.map((member) => nodes.get(member)?.service?.alive)).toEqual([true, true])
  })
})
