/** How packets fare by the rules that are in force in a fake kernel. */
import { compile } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { kernelFacts } from '../../src/ruleset/installed.ts'
import { HOOKS, type Rule, type Ruleset, type Table } from '../../src/ruleset/ruleset.ts'
import { NOTHING } from '../../src/ruleset/plan.ts'
import { chainText } from '../../src/ruleset/restore-text.ts'
import { FakeKernel } from '../ruleset/kernel.ts'
import { trace, type Fate, type Packet } from '../tracer/tracer.ts'
import { SURROUNDINGS } from '../tracer/world.ts'

export const SELF = '203.0.113.2'
const UDP_PORTS = [5353, 15003, 17000]

/** To ports of the node from outside and inside, over IPv4 and, to some, over IPv6; and out. */
export function packetsTo(ports: readonly number[], ports6: readonly number[]): Packet[] {
  return [
    ...['198.51.100.7', '198.51.100.8', '10.10.10.105', '10.10.10.108'].flatMap((source) =>
      ports.map((dport) => ({ source, dport, destination: SELF })),
    ),
    ...['10.10.10.105', '10.10.10.107', '10.10.10.108', '203.0.113.50'].map((source) => ({
      source,
      dport: 443,
      destination: '198.51.100.7',
    })),
    ...ports6.map((dport) => ({
      source: '2001:db8:51::7',
      dport,
      destination: '2001:db8:113::2',
    })),
  ].map(({ source, destination, dport }) => ({
    source,
    destination,
    dport,
    sport: 40_000,
    state: 'NEW',
    proto: UDP_PORTS.includes(dport) ? 'udp' : 'tcp',
    in: source.startsWith('10.10.') ? 'vmbr1' : 'vmbr0',
  }))
}

/** Fates of packets in a kernel in which only rules of these looks are, and a bare RETURN of somebody else. */
export function onlooker(
  looks: readonly Look[],
  packets: readonly Packet[],
): (kernel: FakeKernel) => readonly Fate[] {
  const rules = rulesByText(looks)
  const seen = new Map<string, Fate[]>()
  return (kernel) => {
    const { chains, sets, drops } = kernel
    const key = JSON.stringify([[...chains], [...sets], [...drops]])
    const known = seen.get(key)
    if (known) return known
    const ruleset = installed(kernel, rules)
    const fates = packets.map((packet) => trace(ruleset, packet, { ...SURROUNDINGS, drops }))
    seen.set(key, fates)
    return fates
  }
}

/** Every rule that may be in force, by family, chain and text without its hash. */
function rulesByText(looks: readonly Look[]): Map<string, Rule> {
  const beside = new FakeKernel()
  for (const family of [4, 6] as const) beside.drops.add(family)
  const rulesets = looks.flatMap((look) => [
    compile(look),
    compile({ ...look, kernel: kernelFacts(beside.read()) }),
  ])
  return new Map(
    rulesets.flatMap(({ ruleset: { chains } }) =>
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
}

function bare(line: string): string {
  return line.replace(/ -m comment --comment \S+/, '')
}

/** The rules that packets meet: a chain without its hook does nothing. */
function installed({ chains, sets }: FakeKernel, rules: ReadonlyMap<string, Rule>): Ruleset {
  const ruleset: Ruleset = { ...NOTHING, chains: { 4: [], 6: [] }, sets: [] }
  for (const [key, lines] of chains) {
    const [family = '', table = '', name = ''] = key.split(' ')
    const hook = HOOKS.find((one) => one.table === table && one.to === name)
    const from = hook && chains.get(`${family} ${table} ${hook.from}`)
    if (!name.startsWith('PVENAT-') || (hook && !from?.includes(`-j ${name}`))) continue
    const met = lines.map((line): Rule => {
      const rule = rules.get(`${family} ${table} -A ${name} ${bare(line)}`)
      if (rule) return rule
      if (line === '-j RETURN') return { target: { kind: 'return' } }
      throw new Error(`a rule of neither the old nor the new: -A ${name} ${line}`)
    })
    const ours = { table: table as Table, name, rules: met, texts: [] }
    ruleset.chains[family === '4' ? 4 : 6].push(ours)
  }
  ruleset.sets = [...sets].map(([name, [header = '', ...entries]]) => ({
    name,
    entries,
    family: header.includes('inet6') ? 6 : 4,
    type: header.startsWith('hash:net') ? 'hash:net' : 'hash:ip,port',
  }))
  return ruleset
}

/** Whether a packet fares as it did or will do; an accept that it does not need harms nobody, and what is dropped nobody sees. */
export function isLike({ accepted, ...fate }: Fate, other: Fate | undefined): boolean {
  if (fate.verdict === 'drop') return other?.verdict === 'drop'
  return (
    (accepted || !other?.accepted) &&
    JSON.stringify({ ...fate, accepted: other?.accepted }) === JSON.stringify(other)
  )
}

/** In few words. */
export function place(fate: Fate | undefined): string {
  const accepted = fate?.accepted ? ', accepted' : ''
  return `${fate?.verdict} at ${fate?.to}:${fate?.port} as ${fate?.seenAs}${accepted}`
}

export function told(packet: Packet | undefined): string {
  return `${packet?.source} to ${packet?.destination}:${packet?.dport}/${packet?.proto}`
}

/** A flow of a client to a UDP port of the node that leads to `ADDRESS:PORT`, to the node itself when not told, as conntrack prints it. */
export function flowLine(dport: number, to = `${SELF}:${dport}`, sport = 40_000): string {
  const [address, port] = to.split(':')
  const client = '198.51.100.7'
  return `udp      17 29 src=${client} dst=${SELF} sport=${sport} dport=${dport} src=${address} dst=${client} sport=${port} dport=${sport} [ASSURED] mark=0 use=1`
}
