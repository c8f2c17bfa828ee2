/** NAT rules that are not pvenat's, as the save programs print them. */
import { overlap, parseRange, type Family, type Range } from './address.ts'
import type { BackendName, NodeFacts } from './facts.ts'
import { OWN_CHAIN } from './ruleset/model.ts'

export interface ForeignNat {
  backend: BackendName
  family: Family
  chain: string
  /** `-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE`. */
  line: string
  kind: 'destination' | 'source'
  /** Undefined: any. A condition that begins with `!` counts as any, too. */
  source?: Range
  destination?: Range
  in?: string
  out?: string
  proto?: string
  ports?: [number, number][]
  /** The words of the line hold conditions beyond these. */
  more: boolean
}

const TARGETS: Readonly<Record<string, ForeignNat['kind']>> = {
  ...{ DNAT: 'destination', REDIRECT: 'destination', NETMAP: 'destination' },
  ...{ SNAT: 'source', MASQUERADE: 'source' },
}

/** Every rule of a nat table that translates and is not pvenat's, of both backends and families. */
export function foreignNat({ tables }: Pick<NodeFacts, 'tables'>): ForeignNat[] {
  return (['legacy', 'nft'] as const).flatMap((backend) =>
    ([4, 6] as const).flatMap((family) =>
      natLines(tables[backend][family]).flatMap((line) => parseLine(line, backend, family)),
    ),
  )
}

function natLines(text: string): string[] {
  const table = text.split(/^\*/m).find((part) => part.startsWith('nat\n')) ?? ''
  return table.split('\n').filter((line) => line.startsWith('-A '))
}

function parseLine(line: string, backend: BackendName, family: Family): ForeignNat[] {
  // A comment may hold anything; it is no condition.
  const words = line.replace(/ -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)/, '').split(' ')
  const chain = words[1] ?? ''
  const kind = TARGETS[words[words.indexOf('-j') + 1] ?? '']
  if (!kind || OWN_CHAIN.test(chain)) return []
  const value = (name: string): string | undefined => {
    const at = words.indexOf(name)
    return at < 0 || words[at - 1] === '!' ? undefined : words[at + 1]
  }
  const range = (name: string): Range | undefined => parseRange(value(name) ?? '')
  const ports = value('--dport') ?? value('--dports')
  const known = new Set(['-A', '-j', '-s', '-d', '-i', '-o', '-p', '-m', '--dport', '--dports'])
  const conditions = words.slice(0, words.indexOf('-j')).filter((word) => word.startsWith('-'))
  const [source, destination] = [range('-s'), range('-d')]
  const [from, out, proto] = [value('-i'), value('-o'), value('-p')]
  return [
    {
      ...{ backend, family, chain, line, kind },
      ...(source ? { source } : {}),
      ...(destination ? { destination } : {}),
      ...(from === undefined ? {} : { in: from }),
      ...(out === undefined ? {} : { out }),
      ...(proto === undefined ? {} : { proto }),
      ...(ports === undefined ? {} : { ports: ports.split(',').map(portRange) }),
      more: words.includes('!') || conditions.some((word) => !known.has(word)),
    },
  ]
}

function portRange(text: string): [number, number] {
  const [lo = 0, hi = lo] = text.split(':').map(Number)
  return [lo, hi]
}

/** Whether a rule may concern packets from, to and by these; what it does not name it takes all of. */
export function mayConcern(
  rule: ForeignNat,
  packet: {
    source?: Range
    destination?: Range
    out?: string
    proto?: string
    ports?: readonly [number, number]
  },
): boolean {
  const { source, destination, out, proto, ports } = packet
  const apart = (a: Range | undefined, b: Range | undefined): boolean => !!a && !!b && !overlap(a, b)
  if (apart(rule.source, source) || apart(rule.destination, destination)) return false
  if (rule.out !== undefined && out !== undefined && !isInterface(rule.out, out)) return false
  if (rule.proto !== undefined && proto !== undefined && rule.proto !== proto) return false
  return !rule.ports || !ports || rule.ports.some(([lo, hi]) => lo <= ports[1] && ports[0] <= hi)
}

function isInterface(pattern: string, name: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}
