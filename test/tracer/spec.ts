/** Firewall rules as the generator means them, beside the text that says so. */

export type Proto = 'tcp' | 'udp'
export type Ports = readonly [lo: number, hi: number]

export function inside([lo, hi]: Ports, port: number): boolean {
  return lo <= port && port <= hi
}

export function width([lo, hi]: Ports): number {
  return hi - lo
}

/** External ports of some protocols and the inner ports that they lead to. */
export interface Pair {
  protos: readonly Proto[]
  external: Ports
  /** First inner port. */
  inner: number
  /** All lead to the one inner port; else they are shifted 1:1. */
  single: boolean
}

/** How the ports of an IN rule are typed, and what that means. */
export interface Shape {
  /** `ACCEPT` or a macro. */
  action: string
  /** `-p tcp -dport 22`. */
  options: string
  /** The ports in the comment, '' for none. */
  endpoint: string
  pairs: Pair[]
  /** With -sport: pve-firewall alone would drop what is forwarded. */
  accept: boolean
}

export interface Forward extends Shape {
  kind: 'forward'
  off: boolean
  /** As typed: literal, list, range, alias, ipset. */
  source?: string
  address?: string
  /** The external interface, as `if=` or as the rule's own -i. */
  iface?: { name: string; word: 'if' | '-i' }
  /** Where it leads, if not to the guest's own address; as `to=` or as the rule's destination. */
  inner?: { address: string; word: 'to' | 'dest' }
  hairpin: boolean
  snat: boolean
}

/** 1:1 NAT: everything that arrives at the address and that no other forward takes. */
export interface Full extends Pick<Forward, 'off' | 'source' | 'iface' | 'inner' | 'hairpin' | 'snat'> {
  kind: 'full'
  address: string
}

/** Inner ports that are not forwarded. */
export interface Hole extends Shape {
  kind: 'hole'
  off: boolean
  /** Only what comes from there. */
  source?: string
  inner?: Forward['inner']
}

export interface Flows {
  source?: string
  dest?: string
  proto?: Proto
  /** Needs `proto`. */
  ports?: Ports[]
}

export interface Egress extends Flows {
  kind: 'egress'
  off: boolean
  none: boolean
  /** SNAT to it. */
  to?: string
  iface?: Forward['iface']
}

export interface Block extends Flows {
  kind: 'block'
  off: boolean
  type: 'IN' | 'OUT'
  action: 'DROP' | 'REJECT'
  /** By which what is stopped comes (IN) or goes (OUT). */
  iface?: Forward['iface']
}

export type Rule = Forward | Full | Hole | Egress | Block
export type Line = Rule | { kind: 'group'; off: boolean; name: string }

export interface Entry {
  /** A network or an alias. */
  text: string
  nomatch: boolean
}

/** The aliases and ipsets of one file. */
export interface Names {
  aliases: Record<string, string>
  sets: Record<string, Entry[]>
}

export interface Spec {
  names: Names
  groups: Record<string, Rule[]>
  cluster: Line[]
  host: Line[]
  guests: Record<number, { names: Names; lines: Line[] }>
  /** The rules with full=1 were in force before all other rules came. */
  fullsCameFirst?: boolean
}

/** The .fw texts, by their path below the pve directory. */
export function filesOf({ names, groups, cluster, host, guests }: Spec, node: string): Map<string, string> {
  const enabled = '[OPTIONS]\nenable: 1\n'
  const groupText = Object.entries(groups).map(
    ([name, rules]) => `[group ${name}]\n${rules.map(lineText).join('')}`,
  )
  const rules = (lines: readonly Line[]): string => `[RULES]\n${lines.map(lineText).join('')}`
  return new Map([
    ['firewall/cluster.fw', [enabled, namesText(names), rules(cluster), ...groupText].join('')],
    [`nodes/${node}/host.fw`, rules(host)],
    ...Object.entries(guests).map(
      ([vmid, file]) =>
        [`firewall/${vmid}.fw`, [enabled, namesText(file.names), rules(file.lines)].join('')] as const,
    ),
  ])
}

/** The rules with full=1 alone. */
export function fullsOnly(spec: Spec): Spec {
  const only = <T extends Line>(lines: readonly T[]): T[] =>
    lines.filter(({ kind }) => kind === 'full' || kind === 'group')
  return {
    ...spec,
    groups: Object.fromEntries(Object.entries(spec.groups).map(([name, rules]) => [name, only(rules)])),
    cluster: only(spec.cluster),
    host: only(spec.host),
    guests: Object.fromEntries(
      Object.entries(spec.guests).map(([vmid, { names, lines }]) => [vmid, { names, lines: only(lines) }]),
    ),
  }
}

/** What is not the same in all of them, in one text, for messages. */
export function showSpec(spec: Spec): string {
  return [...filesOf(spec, 'pve1')]
    .map(
      ([file, text]) => [file, text.replace(/\[[^\n]*\]\n(?=\[|$)|^\[OPTIONS\]\nenable: 1\n/g, '')] as const,
    )
    .map(([file, text]) => (/ NAT|GROUP/.test(text) ? `--- ${file}\n${text}` : ''))
    .join('')
}

function namesText({ aliases, sets }: Names): string {
  const aliasLines = Object.entries(aliases).map(([name, cidr]) => `${name} ${cidr}\n`)
  const setTexts = Object.entries(sets).map(
    ([name, entries]) =>
      `[IPSET ${name}]\n${entries.map(({ text, nomatch }) => `${nomatch ? '!' : ''}${text}\n`).join('')}`,
  )
  return ['[ALIASES]\n', ...aliasLines, ...setTexts].join('')
}

export function lineText(line: Line): string {
  return `${line.off ? '|' : ''}${words(line)
    .filter((word) => word !== '')
    .join(' ')}\n`
}

function words(line: Line): string[] {
  switch (line.kind) {
    case 'group':
      return ['GROUP', line.name]
    case 'forward':
      return forwardWords(line)
    case 'full':
      return forwardWords({ ...line, action: 'ACCEPT', options: '', endpoint: '' }, 'full=1')
    case 'hole':
      return [
        'IN',
        line.action,
        sourceOf(line.source),
        dest(line.inner),
        line.options,
        '# NAT none',
        to(line.inner),
      ]
    case 'egress':
      return [
        'OUT ACCEPT',
        ownInterface(line.iface),
        ...flowWords(line),
        '# NAT',
        line.none ? 'none' : (line.to ?? ''),
        ifOption(line.iface),
      ]
    case 'block':
      return [
        line.type,
        line.action,
        ownInterface(line.iface),
        ...flowWords(line),
        '# NAT',
        ifOption(line.iface),
      ]
  }
}

type Inward = Omit<Forward, 'kind' | 'pairs' | 'accept'>

function forwardWords(rule: Inward, more = ''): string[] {
  const { action, options, source, address, endpoint, iface, inner, hairpin, snat } = rule
  const host = address?.includes(':') && endpoint !== '' ? `[${address}]` : (address ?? '')
  return [
    'IN',
    action,
    ownInterface(iface),
    sourceOf(source),
    dest(inner),
    options,
    '# NAT',
    host !== '' && endpoint !== '' ? `${host}:${endpoint}` : host + endpoint,
    ifOption(iface),
    to(inner),
    hairpin ? '' : 'hairpin=0',
    snat ? 'snat=1' : '',
    more,
  ]
}

function flowWords({ source, dest, proto, ports }: Flows): string[] {
  return [
    sourceOf(source),
    dest === undefined ? '' : `-dest ${dest}`,
    proto === undefined ? '' : `-p ${proto}`,
    ports === undefined ? '' : `-dport ${portList(ports, ':')}`,
  ]
}

export function portList(list: readonly Ports[], dash: ':' | '-'): string {
  return list.map(([lo, hi]) => (lo === hi ? `${lo}` : `${lo}${dash}${hi}`)).join(',')
}

function ownInterface(iface: Forward['iface']): string {
  return iface?.word === '-i' ? `-i ${iface.name}` : ''
}

function ifOption(iface: Forward['iface']): string {
  return iface?.word === 'if' ? `if=${iface.name}` : ''
}

function sourceOf(source: string | undefined): string {
  return source === undefined ? '' : `-source ${source}`
}

function dest(inner: Forward['inner']): string {
  return inner?.word === 'dest' ? `-dest ${inner.address}` : ''
}

function to(inner: Forward['inner']): string {
  return inner?.word === 'to' ? `to=${inner.address}` : ''
}
