/** NAT rules that are not pvenat's, as the save programs and nft print them. */
import { FAMILIES, intersects, parseIp, parseRange, type Family, type Range } from '../address.ts'
import { meets, type PortRange } from '../ports.ts'
import { OWN_CHAIN } from '../ruleset/ruleset.ts'
import { BACKENDS, saveProgram, type Backend } from './backend.ts'
import type { NodeFacts } from './node-facts.ts'
import { nftNat } from './nftables.ts'

/** What a packet must have, as far as pvenat reads it. Undefined: anything. */
interface Conditions {
  source?: readonly Range[] | undefined
  destination?: readonly Range[] | undefined
  out?: string | undefined
  in?: string | undefined
  proto?: string | undefined
  ports?: readonly PortRange[] | undefined
}

/** A condition that begins with `!`, or that pvenat does not read, counts as none: what the rule takes is no more than it says. */
export interface ForeignNat extends Conditions {
  backend: Backend
  family: Family
  chain: string
  /** `-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE`; of a native rule its place: `ip docker nat-out handle 9`. */
  line: string
  /** A rule of nft itself, which the iptables programs do not show. */
  isNative?: true
  kind: 'destination' | 'source'
  /** The one address that it leads to, where iptables names it. */
  to?: Range | undefined
}

const TARGETS: Readonly<Record<string, ForeignNat['kind']>> = {
  DNAT: 'destination',
  REDIRECT: 'destination',
  NETMAP: 'destination',
  SNAT: 'source',
  MASQUERADE: 'source',
}

/** Targets of iptables that translate. */
export const NAT_TARGETS: ReadonlySet<string> = new Set(Object.keys(TARGETS))

/** Every rule of a nat table that translates and is not pvenat's, of both backends and families. */
export function foreignNat({ tables, nftables }: Pick<NodeFacts, 'tables' | 'nftables'>): ForeignNat[] {
  const ofIptables = BACKENDS.flatMap((backend) =>
    FAMILIES.flatMap((family) =>
      linesOfTable(tables[backend][family], 'nat').flatMap((line) => parseLine(line, backend, family)),
    ),
  )
  const native = nftNat(nftables).map(({ table, handle, ...rule }): ForeignNat => {
    const line = `${table} ${rule.chain} handle ${handle}`
    return { ...rule, backend: 'nft', isNative: true, line }
  })
  return [...ofIptables, ...native]
}

/** `iptables-legacy-save: nat -A …`, `nft -a list ruleset: ip docker nat-out handle 9`: where a rule was read. */
export function foreignPlace({ backend, family, line, isNative }: ForeignNat): string {
  return isNative ? `nft -a list ruleset: ${line}` : `${saveProgram(backend, family)}: nat ${line}`
}

/** A comment in a line of a save program. */
export const COMMENT = / -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)/

/** The lines of a table in the output of a save program. */
export function linesOfTable(text: string, table: string): string[] {
  const part = `\n${text}`.split('\n*').find((one) => one.startsWith(`${table}\n`)) ?? ''
  return part.split('\n')
}

/** The words of a line of a save program or of a command, quotes included. */
export function tokens(line: string): string[] {
  return line.match(/"(?:[^"\\]|\\.)*"|'[^']*'|\S+/g) ?? []
}

/** A word without the quotes that the save programs put around a comment. */
export function unquoted(word: string): string {
  return word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word
}

function parseLine(line: string, backend: Backend, family: Family): ForeignNat[] {
  // A comment may hold anything; it is no condition.
  const words = line.replace(COMMENT, '').split(' ')
  const chain = words[1] ?? ''
  const kind = TARGETS[words[words.indexOf('-j') + 1] ?? '']
  if (!kind || words[0] !== '-A' || OWN_CHAIN.test(chain)) return []
  const value = (name: string): string | undefined => {
    const at = words.indexOf(name)
    return at < 0 || words[at - 1] === '!' ? undefined : words[at + 1]
  }
  const range = (name: string): Range[] | undefined => {
    const found = parseRange(value(name) ?? '')
    return found && [found]
  }
  return [
    {
      backend,
      family,
      chain,
      line,
      kind,
      source: range('-s'),
      destination: range('-d'),
      out: value('-o'),
      in: value('-i'),
      to: parseIp(/ --to-destination \[?([\da-f.:]+?)\]?(?::[\d-]+(?:\/\d+)?)?(?: |$)/.exec(line)?.[1] ?? ''),
      proto: value('-p'),
      ports: (value('--dport') ?? value('--dports'))?.split(',').map(portRange),
    },
  ]
}

function portRange(text: string): PortRange {
  const [lo = 0, hi = lo] = text.split(':').map(Number)
  return [lo, hi]
}

/** Whether a rule may concern packets from, to and by these; what either does not name is anything. */
export function mayConcern(rule: Conditions, packet: Conditions): boolean {
  const apart = <T>(one: T | undefined, other: T | undefined, meet: (a: T, b: T) => boolean): boolean =>
    one !== undefined && other !== undefined && !meet(one, other)
  return !(
    apart(rule.source, packet.source, intersects) ||
    apart(rule.destination, packet.destination, intersects) ||
    apart(rule.out, packet.out, isInterface) ||
    apart(rule.proto, packet.proto, (a, b) => a === b) ||
    apart(rule.ports, packet.ports, (a, b) => a.some((one) => b.some((other) => meets(one, other))))
  )
}

/** Whether an interface is one of those that `-i` and `-o` name; `+` at the end stands for anything. */
export function isInterface(pattern = '', name = ''): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}
