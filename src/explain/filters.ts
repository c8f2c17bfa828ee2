/**
 * What chains of others do with a packet: those of nft itself (firewalld, Docker, libvirt, proxmox-firewall) and the filtering ones of
 * iptables (facts/saved-filters.ts), walked as the kernel does. A condition that is not read may hold or not, so that a walk may
 * have several ends.
 */
import { NAT_TARGETS } from '../facts/foreign.ts'
import { GOES_ON, OURS } from '../facts/saved-filters.ts'
import { FAMILIES_OF, valuesOf, type NftChain, type NftRule, type Nftables } from '../facts/nftables.ts'
import { field, listOf, members, textOf } from '../json.ts'
import { ABSENT, compares, valueOf, type Met } from './fields.ts'

/** Base chains: those that see packets, or only frames on a wire; of some hook and type; `from` a priority, `below` another. */
export interface At {
  layer?: 'wire'
  hook: string
  type: 'filter' | 'nat'
  from?: number
  below?: number
}

/** The priority of connection tracking (linux/netfilter_ipv4.h). */
export const CONNTRACK = -200

type End = 'accept' | 'drop' | 'nat' | 'untracked' | 'may untrack' | 'return' | 'next'
/** Each way in which a walk can end, and the rule or policy that ends it so. */
type Ends = Map<End, string>

export interface Judged {
  /** `unknown`: it may drop the packet. `untracked`: it keeps it from connection tracking, so that nothing translates it. */
  verdict: 'drop' | 'unknown' | 'nat' | 'may nat' | 'untracked' | 'may untrack'
  /** Where the rule or policy stands that does so. */
  place: string
  chain: NftChain
}

const MAX_DEPTH = 16
type Families = Readonly<Record<string, readonly number[]>>
const BRIDGED: Families = { bridge: [4, 6] }
/** At `ingress` and `egress` of an interface. */
const FRAMES: Families = { netdev: [4, 6], inet: [4, 6] }
/** The hooks of an interface; the others on the wire are those of bridges. */
export const DEVICE_HOOKS = ['ingress', 'egress']

/** What base chains do to a packet, by priority; those that let it pass as it is are left out. */
export function judge({ chains, sets }: Nftables, at: At, met: Met): Judged[] {
  const { layer, hook, type, from = -Infinity, below = Infinity } = at
  const onWire = DEVICE_HOOKS.includes(hook) ? FRAMES : BRIDGED
  const families = layer === 'wire' ? onWire : FAMILIES_OF
  return chains
    .filter((chain) => chain.hook === hook && (chain.type === 'nat') === (type === 'nat'))
    .filter(({ family, priority }) => {
      return families[family]?.includes(met.family) === true && from <= priority && priority < below
    })
    .sort((a, b) => a.priority - b.priority)
    .flatMap((chain) => {
      const isUnseen = chain.priority < CONNTRACK && (hook === 'prerouting' || hook === 'output')
      return endsOf({ chains, sets }, chain, isUnseen ? { ...met, isUnseen } : met)
    })
}

function endsOf(nftables: Nftables, chain: NftChain, met: Met): Judged[] {
  const ends = run(nftables, chain, met, 0)
  const rest = ends.get('return')
  if (rest !== undefined) {
    ends.delete('return')
    if (!ends.has(chain.policy)) ends.set(chain.policy, policyPlace(chain))
  }
  const [untracked, perhaps] = [ends.get('untracked'), ends.get('may untrack')]
  ends.delete('untracked')
  ends.delete('may untrack')
  const [drop, nat] = [ends.get('drop'), ends.get('nat')]
  const isSure = ends.size === 1
  if (drop !== undefined) return [{ verdict: isSure ? 'drop' : 'unknown', place: drop, chain }]
  if (nat !== undefined) return [{ verdict: isSure ? 'nat' : 'may nat', place: nat, chain }]
  if (met.isUnseen !== true) return []
  if (untracked !== undefined) return [{ verdict: 'untracked', place: untracked, chain }]
  return perhaps === undefined ? [] : [{ verdict: 'may untrack', place: perhaps, chain }]
}

/** Where chains of PREROUTING change something of a packet, or may: its mark, say. */
export function changes(nftables: Nftables, met: Met, what: 'mark' | 'zone'): string[] {
  const isSuch = (statement: unknown): boolean => {
    const key = field(field(statement, 'mangle'), 'key')
    return textOf(field(field(key, what === 'mark' ? 'meta' : 'ct'), 'key')) === what
  }
  const within = (chain: NftChain, depth: number): string[] =>
    chain.rules
      .filter((rule) => mayHold(nftables, chain, rule, met))
      .flatMap((rule) => [
        ...(rule.statements.some(isSuch) ? [placeOf(chain, rule)] : []),
        ...(depth > MAX_DEPTH
          ? []
          : rule.statements.flatMap((one) => {
              const to = targetOf(nftables, chain, one)
              return to ? within(to, depth + 1) : []
            })),
      ])
  return nftables.chains
    .filter(
      ({ family, hook, type }) =>
        hook === 'prerouting' && type === 'filter' && FAMILIES_OF[family]?.includes(met.family),
    )
    .flatMap((chain) => within(chain, 0))
}

function mayHold(nftables: Nftables, chain: NftChain, { statements }: NftRule, met: Met): boolean {
  return statements.every((one) => {
    const match = field(one, 'match')
    return match === undefined || matches(nftables, chain, match, met) !== false
  })
}

/** The chain to which a statement leads. */
function targetOf({ chains }: Nftables, from: NftChain, statement: unknown): NftChain | undefined {
  const target = textOf(field(field(statement, 'jump') ?? field(statement, 'goto'), 'target'))
  return chains.find(
    ({ family, table, name, program }) =>
      family === from.family && table === from.table && name === target && program === from.program,
  )
}

/** `inet firewalld filter_FORWARD`. */
export function nameOf({ family, table, name }: NftChain): string {
  return `${family} ${table} ${name}`
}

function policyPlace(chain: NftChain): string {
  const { program, table, name, policy } = chain
  if (program === undefined) return `nft list chain ${nameOf(chain)}: policy ${policy}`
  return `${program}: ${table} :${name} ${policy.toUpperCase()}`
}

function placeOf(chain: NftChain, { place, handle }: NftRule): string {
  return place ?? `nft -a list chain ${nameOf(chain)}: handle ${handle}`
}

function run(nftables: Nftables, chain: NftChain, met: Met, depth: number): Ends {
  const ends: Ends = new Map()
  if (depth > MAX_DEPTH) return bothEnds(nameOf(chain))
  for (const rule of chain.rules) {
    const { holds, own } = runRule(nftables, chain, rule, met, depth)
    if (holds === false) continue
    const isMet = holds && !END_OF_WALK.some((end) => ends.has(end))
    for (const [end, place] of own) {
      const key = end === 'untracked' && !isMet ? 'may untrack' : end
      if (key !== 'next' && (holds || !ends.has(key))) ends.set(key, place)
    }
    if (holds && !own.has('next')) return ends
  }
  if (!ends.has('return')) ends.set('return', nameOf(chain))
  return ends
}

/** What may have ended the walk before. */
const END_OF_WALK = ['accept', 'drop', 'nat', 'return'] as const

function bothEnds(place: string): Ends {
  return new Map([
    ['accept', place],
    ['drop', place],
  ])
}

/** Statements that change nothing about where the packet goes. */
const IDLE = [
  'counter',
  'log',
  'mangle',
  'ct helper',
  'ct timeout',
  'flow',
  'set',
  'map',
  'last',
  'comment',
  'continue',
  'meter',
]

function runRule(
  nftables: Nftables,
  chain: NftChain,
  rule: NftRule,
  met: Met,
  depth: number,
): { holds: boolean | undefined; own: Ends } {
  const place = placeOf(chain, rule)
  const next: Ends = new Map([['next', place]])
  let holds: boolean | undefined = true
  for (const statement of rule.statements) {
    const [name = '', value] = members(statement)[0] ?? []
    if (name === 'match') {
      const is = matches(nftables, chain, value, met)
      if (is === false) return { holds: false, own: next }
      holds &&= is
    } else if (name === 'vmap') {
      const own = ofMap(nftables, chain, value, met, place, depth)
      if (own.size > 1 || !own.has('next')) return { holds, own }
    } else {
      const own = ofVerdict(nftables, chain, name, value, met, place, depth)
      if (own) return { holds, own }
      if (!IDLE.includes(name)) holds = undefined
    }
  }
  return { holds, own: next }
}

/** Where a verdict leads; undefined when the statement is none. */
function ofVerdict(
  nftables: Nftables,
  chain: NftChain,
  name: string,
  value: unknown,
  met: Met,
  place: string,
  depth: number,
): Ends | undefined {
  switch (name) {
    case 'accept':
      return new Map([['accept', place]])
    case 'drop':
    case 'reject':
      return new Map([['drop', place]])
    case 'dnat':
    case 'redirect':
    case 'snat':
    case 'masquerade':
      return new Map([['nat', place]])
    case 'return':
      return new Map([['return', place]])
    case 'notrack':
      return new Map<End, string>([
        ['untracked', place],
        ['next', place],
      ])
    case 'xt':
      return ofExtension(textOf(field(value, 'type')), textOf(field(value, 'name')), place)
    case 'queue':
    case 'tproxy':
      return bothEnds(place)
    case 'jump':
    case 'goto': {
      const target = textOf(field(value, 'target'))
      // Chains of ebtables that pve-firewall made are judged by what they are made of.
      if (chain.family === 'bridge' && OURS.test(target)) return undefined
      const to = targetOf(nftables, chain, { [name]: value })
      const ends = to ? run(nftables, to, met, depth + 1) : bothEnds(place)
      const back = ends.get('return')
      if (name === 'goto' || back === undefined) return ends
      ends.delete('return')
      return ends.set('next', back)
    }
    default:
      return undefined
  }
}

/** An extension of iptables in a table that iptables does not read. */
function ofExtension(type: string, name: string, place: string): Ends | undefined {
  if (type !== 'target' || GOES_ON.test(name)) return undefined
  return NAT_TARGETS.has(name) ? new Map([['nat', place]]) : bothEnds(place)
}

/** A map from values to verdicts. */
function ofMap(
  nftables: Nftables,
  chain: NftChain,
  value: unknown,
  met: Met,
  place: string,
  depth: number,
): Ends {
  const ends: Ends = new Map()
  for (const pair of valuesOf(field(value, 'data'), chain, nftables).map(listOf)) {
    const [key, verdict] = pair
    const is = compares(valueOf(field(value, 'key'), met), key)
    if (is === false) continue
    const [name = '', to] = members(verdict)[0] ?? []
    const own: Ends = ofVerdict(nftables, chain, name, to, met, place, depth) ?? new Map([['next', place]])
    for (const [end, where] of own) ends.set(end, where)
    if (is) return ends
  }
  return ends.set('next', place)
}

function matches(nftables: Nftables, chain: NftChain, match: unknown, met: Met): boolean | undefined {
  const value = valueOf(field(match, 'left'), met)
  const wanted = valuesOf(field(match, 'right'), chain, nftables)
  let is: boolean | undefined = false
  for (const one of wanted) {
    const same = compares(value, one)
    if (same === true) {
      is = true
      break
    }
    if (same === undefined) is = undefined
  }
  const op = textOf(field(match, 'op'))
  if (op === '==' || op === 'in') return is
  if (op === '!=') return value === ABSENT ? false : is === undefined ? undefined : !is
  return undefined
}
