// A failure at every single call of an apply in turn: no packet ever meets anything but the old or the new rules, nothing foreign is
// touched, and the next apply puts the rest right.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { apply, type Due } from '../../src/node/apply.ts'
import { compile } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { HOOKS, type Rule, type Ruleset, type Table } from '../../src/ruleset/model.ts'
import { isEmpty, makePlan, NOTHING } from '../../src/ruleset/plan.ts'
import { chainText } from '../../src/ruleset/text.ts'
import { FakeKernel } from '../ruleset/kernel.ts'
import { trace, type Fate, type Packet } from '../tracer/tracer.ts'
import { guestAt, lookAt, NODE, nodeAddress, route } from '../tracer/world.ts'
import { copyOf, Injected, InjectedKernel, type Mode } from './injected.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pvenat-inject-'))
afterAll(() => rmSync(scratch, { recursive: true }))
let last = 0

const enabled = (...rules: string[]): string => `[OPTIONS]\nenable: 1\n[RULES]\n${rules.join('\n')}\n`
const look = (
  office: string[],
  guests: Record<number, string[]>,
  cluster = ['OUT ACCEPT -source 10.10.10.0/24 # NAT'],
): Look =>
  lookAt(
    new Map([
      ['firewall/cluster.fw', `${enabled(...cluster)}[IPSET office]\n${office.join('\n')}\n`],
      [`nodes/${NODE}/host.fw`, enabled()],
      ...Object.entries(guests).map(
        ([vmid, rules]) => [`firewall/${vmid}.fw`, enabled(...rules)] as [string, string],
      ),
    ]),
  )

const staying = 'IN HTTP(ACCEPT) # NAT 8080'
const LOOKS = {
  nothing: look([], {}, []),
  some: look(['198.51.100.7'], {
    105: ['IN SSH(ACCEPT) # NAT 1022', 'IN ACCEPT -p udp -dport 7000 # NAT 17000'],
    107: ['IN ACCEPT -p tcp -dport 22 -sport 822 # NAT', 'IN ACCEPT -p tcp -dport 3306 -sport 3306 # NAT'],
    108: [staying, 'IN ACCEPT -p tcp -dport 25 -source +office # NAT'],
  }),
  /** One forward leads to another port, one to another guest, one is gone, one is new, and a set has other members. */
  others: look(['198.51.100.8'], {
    105: ['IN ACCEPT -p udp -dport 53 # NAT 5353'],
    107: [
      ...['IN ACCEPT -p tcp -dport 23 -sport 822 # NAT', 'IN SSH(ACCEPT) # NAT 1022'],
      'IN ACCEPT -p udp -dport 7000 # NAT 17000',
    ],
    108: [staying, 'IN ACCEPT -p tcp -dport 25 -source +office # NAT'],
  }),
  /** Without the family of IPv6, without the loop and without any set. */
  few: look([], { 108: [staying, 'OUT ACCEPT # NAT'] }, []),
} satisfies Record<string, Look>

/** Where UDP to these ports of the node leads; to the node itself where nothing is said. */
const UDP: Record<keyof typeof LOOKS, Record<number, string>> = {
  nothing: {},
  some: { 17000: '10.10.10.105:7000' },
  others: { 17000: '10.10.10.107:7000', 5353: '10.10.10.105:53' },
  few: {},
}
const SELF = '203.0.113.2'

/** A flow of a client that began while one of the looks was in force, as conntrack prints it. */
function flowLine(dport: number, from: keyof typeof LOOKS): string {
  const [address, port] = (UDP[from][dport] ?? `${SELF}:${dport}`).split(':')
  const [client, sport] = ['198.51.100.7', 40_000]
  return `udp      17 29 src=${client} dst=${SELF} sport=${sport} dport=${dport} src=${address} dst=${client} sport=${port} dport=${sport} [ASSURED] mark=0 use=1`
}

/** Those of ports that are or were ours go the new way or not at all; nobody touches the others. */
function rightFlows(from: keyof typeof LOOKS, to: keyof typeof LOOKS): string[] {
  return [17000, 5353, 9999]
    .filter((port) => UDP[from][port] === UDP[to][port])
    .map((port) => flowLine(port, from))
}

const rulesets = Object.values(LOOKS).map((one) => compile(one).ruleset)

/** Every rule that may be in force, by family, chain and text without its hash. */
const ruleAt = new Map(
  rulesets.flatMap(({ chains }) =>
    ([4, 6] as const).flatMap((family) =>
      chains[family].flatMap((chain) =>
        chainText(chain, family).map(
          ({ line }, i) =>
            [`${family} ${chain.table} ${bare(line)}`, chain.rules[i] as Rule] as [string, Rule],
        ),
      ),
    ),
  ),
)

function bare(line: string): string {
  return line.replace(/ -m comment --comment \S+/, '')
}

/** The rules that packets meet: a chain without its hook does nothing. */
function inForce({ chains, sets }: FakeKernel): Ruleset {
  const ruleset: Ruleset = { ...NOTHING, chains: { 4: [], 6: [] }, sets: [] }
  for (const [key, lines] of chains) {
    const [family = '', table = '', name = ''] = key.split(' ')
    const hook = HOOKS.find((one) => one.table === table && one.to === name)
    const from = hook && chains.get(`${family} ${table} ${hook.from}`)
    if (!name.startsWith('PVENAT-') || (hook && !from?.includes(`-j ${name}`))) continue
    const rules = lines.map((line) => {
      const rule = ruleAt.get(`${family} ${table} -A ${name} ${bare(line)}`)
      if (!rule) throw new Error(`a rule of neither the old nor the new: -A ${name} ${line}`)
      return rule
    })
    ruleset.chains[family === '4' ? 4 : 6].push({ table: table as Table, name, rules })
  }
  ruleset.sets = [...sets].map(([name, [header = '', ...entries]]) => ({
    ...{ name, entries, family: header.includes('inet6') ? 6 : 4 },
    type: header.startsWith('hash:net') ? 'hash:net' : 'hash:ip,port',
  }))
  return ruleset
}

const surroundings = {
  ...{ route, nodeAddress },
  firewallBridge(address: string): string | undefined {
    const guest = guestAt(address)
    return guest?.firewall ? `fwbr${guest.vmid}i0` : undefined
  },
}

const packets: Packet[] = [
  ...['198.51.100.7', '198.51.100.8', '10.10.10.105', '10.10.10.108'].flatMap((source) =>
    [22, 25, 822, 1022, 3306, 5353, 8080].map((dport) => ({ source, dport, destination: '203.0.113.2' })),
  ),
  ...['10.10.10.105', '10.10.10.107', '10.10.10.108', '203.0.113.50'].map((source) => ({
    ...{ source, dport: 443, destination: '198.51.100.7' },
  })),
  ...[1022, 5353, 8080].map((dport) => ({
    ...{ source: '2001:db8:51::7', dport, destination: '2001:db8:113::2' },
  })),
].map(({ source, destination, dport }) => ({
  ...{ source, destination, dport, sport: 40_000, state: 'NEW' },
  proto: dport === 5353 ? 'udp' : 'tcp',
  in: source.startsWith('10.10.') ? 'vmbr1' : 'vmbr0',
}))

const fates = (kernel: FakeKernel): Fate[] => {
  const ruleset = inForce(kernel)
  return packets.map((packet) => trace(ruleset, packet, surroundings))
}

/** Whether a packet fares as it did or will do; an accept that it does not need harms nobody. */
function isLike({ accepted, ...fate }: Fate, other: Fate | undefined): boolean {
  return (
    (accepted || !other?.accepted) &&
    JSON.stringify({ ...fate, accepted: other?.accepted }) === JSON.stringify(other)
  )
}

/** A kernel in which others have rules and sets too, in the tables and chains that we use. */
async function withOthers(start: Look, stateDir: string): Promise<InjectedKernel> {
  const fake = new FakeKernel()
  for (const family of [4, 6]) {
    for (const chain of ['raw PREROUTING', 'nat PREROUTING', 'nat POSTROUTING', 'filter FORWARD'])
      fake.chains.set(`${family} ${chain}`, ['-s 192.0.2.77 -j FOREIGN'])
    fake.chains.set(`${family} nat FOREIGN`, ['-j RETURN'])
  }
  fake.sets.set('foreign', ['hash:ip family inet hashsize 64 maxelem 64', '192.0.2.78'])
  const kernel = new InjectedKernel(fake)
  await applyTo(kernel, start, stateDir)
  return kernel
}

/** One pass; tells whether flows are to be looked at in the next one. */
async function applyTo(
  kernel: InjectedKernel,
  one: Look,
  stateDir = join(scratch, `${++last}`),
  due?: Due,
): Promise<boolean> {
  const death = kernel.died.then((error) => Promise.reject(error))
  const { flowsDue } = await Promise.race([apply(one, kernel, stateDir, () => undefined, due), death])
  return flowsDue
}

function foreign({ chains, sets }: FakeKernel): unknown {
  const rules = [...chains]
    .filter(([key]) => !key.includes(' PVENAT-'))
    .map(([key, lines]) => [key, lines.filter((line) => !line.includes('-j PVENAT-'))])
  return [rules, [...sets].filter(([name]) => !name.startsWith('pvenat-'))]
}

const TRANSITIONS = [
  ['nothing', 'some'],
  ['some', 'others'],
  ['others', 'some'],
  ['some', 'few'],
  ['few', 'others'],
  ['some', 'nothing'],
] as const

describe.each(TRANSITIONS)('from %s to %s', { timeout: 60_000 }, (from, to) => {
  test.each<Mode>(['fails', 'dies'])('every call that %s', async (mode) => {
    const startDir = join(scratch, `${++last}`)
    mkdirSync(startDir)
    const start = await withOthers(LOOKS[from], startDir)
    start.flowLines = [17000, 5353, 9999].map((port) => flowLine(port, from))
    const [others, before] = [foreign(start.fake), fates(start.fake)]
    const clean = copyWith(start, Infinity, mode)
    await applyTo(clean, LOOKS[to])
    const after = fates(clean.fake)
    expect(clean.calls.length).toBeGreaterThan(5)
    const wrong: string[] = []
    for (let at = 0; at < clean.calls.length; at++) {
      const kernel = copyWith(start, at, mode)
      const stateDir = join(scratch, `${++last}`)
      cpSync(startDir, stateDir, { recursive: true })
      const flowsDue = await applyTo(kernel, LOOKS[to], stateDir, { flows: false, quarantined: true }).catch(
        (error: unknown) => (error instanceof Injected ? true : Promise.reject(error as Error)),
      )
      const where = `call ${at} (${clean.calls[at]})`
      fates(kernel.fake).forEach((fate, i) => {
        if (isLike(fate, before[i]) || isLike(fate, after[i])) return
        wrong.push(`${where}: ${told(packets[i])}: ${[fate, before[i], after[i]].map(place).join('; ')}`)
      })
      expect(foreign(kernel.fake), where).toEqual(others)
      const again = copyWith(kernel, Infinity, mode)
      const due = { flows: flowsDue, quarantined: true }
      await applyTo(again, LOOKS[to], stateDir, mode === 'dies' ? undefined : due)
      expect(again.flowLines, `${where}, then again`).toEqual(rightFlows(from, to))
      const { ruleset } = compile(LOOKS[to], again.fake.read())
      expect(isEmpty(makePlan(ruleset, again.fake.read())), `${where}, then again`).toBe(true)
      expect(again.isLoopThere, `${where}, then again`).toBe(ruleset.loop.length > 0)
      expect(again.sysctls, `${where}, then again`).toEqual(clean.sysctls)
      expect(foreign(again.fake), `${where}, then again`).toEqual(others)
    }
    expect(wrong).toEqual([])
  })
})

function copyWith(kernel: InjectedKernel, failAt: number, mode: Mode): InjectedKernel {
  const copy = new InjectedKernel(copyOf(kernel.fake), failAt, mode)
  copy.isLoopThere = kernel.isLoopThere
  copy.flowLines = [...kernel.flowLines]
  for (const [path, value] of kernel.sysctls) copy.sysctls.set(path, value)
  return copy
}

/** Now, before, after, in few words. */
function place(fate: Fate | undefined, i: number): string {
  const accepted = fate?.accepted ? ', accepted' : ''
  return `${['now', 'before', 'after'][i]} ${fate?.verdict} at ${fate?.to}:${fate?.port} as ${fate?.seenAs}${accepted}`
}

function told(packet: Packet | undefined): string {
  return `${packet?.source} to ${packet?.destination}:${packet?.dport}/${packet?.proto}`
}
