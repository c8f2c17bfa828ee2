/** The ledger of rights from look to look: which rights last, which guest gets an address, and the rights afterwards. */
import { addressKey, FAMILIES, formatRange, parseIp, type Family, type Range } from '../address.ts'
import { diagnose, word, type Diagnostic } from '../diagnostic.ts'
import { addressAsks } from './asks.ts'
import { grantedRights } from './conflicts.ts'
import { punchAll } from './holes.ts'
import type { Dispatch, Forward, NatRule } from './nat-rule.ts'
import {
  atAddresses,
  covered,
  formatRight,
  identityOf,
  withoutGranted,
  type Ask,
  type Right,
} from './rights.ts'
import type { View } from './view.ts'

/** The rights that did not end: the owner still asks for them, or cannot be judged now. */
export function lastingRights(view: View, rules: readonly NatRule[]): Right[] {
  const { rights, unjudged, network } = view
  if (rights.length === 0) return []
  const own = network.external.flatMap(({ addresses }) => addresses)
  const texts = (family: Family): string[] => own.filter((one) => one.family === family).map(formatRange)
  const all = atAddresses(rights, { 4: texts(4), 6: texts(6) })
  const here = new Set(view.guests.map(({ guest }) => guest.vmid))
  const judged = all.filter(({ vmid }) => here.has(vmid) && !unjudged.has(vmid))
  const kept = rules.filter(({ isGivenUp }) => !isGivenUp)
  const asks = asksOfAll(kept.filter(({ scope }) => scope.kind === 'guest'))
  const asking = new Set(kept.flatMap(({ scope }) => (scope.kind === 'guest' ? scope.guest.vmid : [])))
  const isInner = ({ proto }: Right): boolean => proto === 'inner'
  return [
    ...all.filter(({ vmid }) => unjudged.has(vmid)),
    ...covered(
      judged.filter((right) => !isInner(right)),
      asks,
    ),
    ...lastingInner(
      judged.filter((right) => isInner(right) && asking.has(right.vmid)),
      asks,
      view,
    ),
  ]
}

function asksOfAll(rules: readonly NatRule[]): Ask[] {
  const isHole = ({ kind }: NatRule): boolean => kind === 'exempt'
  const forwards = punchAll(
    rules.flatMap((rule) => (isHole(rule) ? [] : rule.forwards)),
    rules.flatMap((rule) => (isHole(rule) ? rule.forwards : [])),
  )
  return [...rules.flatMap((rule) => [...rule.asks, ...addressAsks(rule)]), ...forwards.flatMap(askOf)]
}

function askOf({ rule: { scope, asked }, proto, ports, source }: Forward): Ask[] {
  if (scope.kind !== 'guest') return []
  const clients = proto === 'all' ? 'any' : source.key
  return [{ vmid: scope.guest.vmid, proto, ports, source: clients, address: asked?.address }]
}

/**
 * A guest keeps its inner address while one of its rules names it, a source still shows it, or no source shows any address of this family. The
 * settings may give it to another guest.
 */
function lastingInner(rights: readonly Right[], asks: readonly Ask[], view: View): Right[] {
  const named = new Set(
    asks.flatMap(({ vmid, address }) => (address ? [`${vmid} ${addressKey(address)}`] : [])),
  )
  return rights.filter(({ vmid, at }) => {
    const address = parseIp(at[0] ?? '')
    if (!address) return false
    const key = addressKey(address)
    if ((view.evidence.given.get(key) ?? vmid) !== vmid) return false
    const seen = (view.known.get(vmid)?.seen ?? []).filter(({ family }) => family === address.family)
    return named.has(`${vmid} ${key}`) || seen.length === 0 || seen.some((one) => addressKey(one) === key)
  })
}

/**
 * Puts rules in conflict that need an address which another guest holds: an inner address; an external address for SNAT while another guest
 * has it whole (full=1), and the other way round. Guests without a right are served in the order of rules.
 */
export function withoutHeldAddresses(
  rules: readonly NatRule[],
  held: readonly Right[],
): { rules: NatRule[]; diagnostics: Diagnostic[] } {
  const holders = new Map<string, Set<number>>()
  const hold = (proto: string, address: string, vmid: number): void => {
    const key = `${proto} ${address}`
    holders.set(key, (holders.get(key) ?? new Set()).add(vmid))
  }
  for (const { proto, vmid, at } of held)
    if (proto in RIVALS) for (const address of at) hold(proto, address, vmid)
  const diagnostics: Diagnostic[] = []
  const kept = rules.map((rule) => {
    const asks = rule.state === 'active' ? claimedAddresses(rule) : []
    const lost = asks.flatMap(({ vmid, proto, address }) => {
      const all = (RIVALS[proto] ?? []).flatMap((rival) => [...(holders.get(`${rival} ${address}`) ?? [])])
      const other = all.find((one) => one !== vmid)
      return other === undefined ? [] : [{ proto, address, vmid: other }]
    })[0]
    if (!lost) {
      for (const { proto, address, vmid } of asks) hold(proto, address, vmid)
      return rule
    }
    const what = `${lost.proto === 'inner' ? 'inner' : 'external'} address ${lost.address}`
    const where = (lost.proto === 'inner' ? rule.whereInner : rule.whereAddress) ?? rule.where
    const diagnostic = diagnose('held', where, { what, vmid: lost.vmid })
    diagnostics.push(diagnostic)
    return { ...rule, state: 'conflict' as const, reason: word(diagnostic).message }
  })
  return { rules: kept, diagnostics }
}

/** The kinds of rights that conflict with a claim of an address. */
const RIVALS: Readonly<Record<string, readonly string[]>> = {
  inner: ['inner'],
  all: ['all', 'snat'],
  snat: ['all'],
}

function claimedAddresses(rule: NatRule): { vmid: number; proto: string; address: string }[] {
  const { scope, forwards } = rule
  if (scope.kind !== 'guest') return []
  const { vmid } = scope.guest
  const whole = new Set(forwards.filter(({ full }) => full).flatMap(({ external }) => external))
  return [
    ...addressAsks(rule).map(({ proto, address }) => ({
      vmid,
      proto,
      address: formatRange(address as Range),
    })),
    ...[...whole].map((address) => ({ vmid, proto: 'all', address: formatRange(address) })),
  ]
}

/** The rights afterwards: granted rights, and lasting rights that are not granted now. */
export function nextRights(
  held: readonly Right[],
  rules: readonly NatRule[],
  dispatch: Record<Family, Dispatch>,
): Right[] {
  const addresses = new Map<string, Right>()
  for (const rule of rules) {
    if (rule.state !== 'active') continue
    for (const { vmid, proto, address } of claimedAddresses(rule)) {
      const right = { vmid, proto, ports: undefined, source: 'any', at: [address] }
      addresses.set(`${vmid} ${proto} ${address}`, right)
    }
  }
  const granted = [...FAMILIES.flatMap((family) => grantedRights(dispatch[family])), ...addresses.values()]
  return [...granted, ...withoutGranted(held, granted)]
}

/** The rights as lines for the state, and the identity of each owner. An owner that shows no identity now keeps its last one. */
export function nextLedger(
  view: View,
  rights: readonly Right[],
): { rights: string[]; guests: Record<string, string> } {
  const there = new Map([...view.guests, ...view.elsewhere].map(({ guest }) => [guest.vmid, guest]))
  const guests: Record<string, string> = {}
  for (const { vmid } of rights) {
    if (vmid in guests) continue
    const guest = there.get(vmid)
    const now = guest ? identityOf(guest) : ' '
    guests[vmid] = now === ' ' ? (view.identities[vmid] ?? now) : now
  }
  return { rights: rights.map(formatRight), guests }
}
