/** Addresses as a rule's source and destination name them: literals, lists, ranges, aliases, ipsets, in PVE's scopes. */
import {
  contains,
  everything,
  FAMILIES,
  formatIp,
  formatRange,
  parseCidr,
  parseIp,
  parseRange,
  prefixLength,
  toNetworks,
  without,
  type Family,
  type Range,
} from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import type { FwFile, FwSet } from '../fw/fw-file.ts'
import { aliasReference, setReference, type Reference } from '../fw/names.ts'
import { entryCidr, findAlias } from '../fw/scope.ts'
import { shortHash } from '../hash.ts'
import { ascending } from '../lists.ts'
import { nearestName } from './complaints.ts'
import { SET_MEMBERS } from './limits.ts'
import type { Clients, KernelSet, Matches, Scope, SetMatches } from './nat-rule.ts'
import type { View } from './view.ts'

/** The files whose aliases and sets a rule sees. `own`: a guest's file, for the rules that stand in it. */
export interface NameScope extends Pick<View, 'cluster' | 'sdnSets' | 'setMatches'> {
  own?: FwFile | undefined
  /** The guest of `own`. */
  vmid?: number | undefined
}

/** The names that the rules of cluster.fw and host.fw see; with `own`, those of a guest's file. */
export function namesOf(
  { cluster, sdnSets, setMatches }: Omit<NameScope, 'own' | 'vmid'>,
  own?: FwFile,
  vmid?: number,
): NameScope {
  return { cluster, sdnSets, setMatches, own, vmid }
}

export const ANY: Clients = { ranges: 'any', key: 'any' }
export const ANY_FAMILY: Matches = { 4: ANY, 6: ANY }

/** Resolves the text of a `source` or `dest` that pve-firewall accepted. Undefined text: any. */
export function resolveAddresses(
  text: string | undefined,
  names: NameScope,
  place: Place,
): Matches | Diagnostic {
  if (text === undefined) return ANY_FAMILY
  if (text.startsWith('+')) return resolveSet(text, names, place)
  const alias = aliasReference(text)
  if (alias) {
    const cidr = findAlias(alias, names)?.cidr
    if (cidr === undefined) {
      const meant = nearestName('alias', alias.name, names)
      return diagnose('alias-missing', place, { name: text, where: where(alias.scope), meant })
    }
    const range = parseCidr(cidr)
    if (!range) return diagnose('address-unsupported', place, { text: cidr, meant: inFull(cidr) })
    return { [range.family]: matchOf([range], 'list') }
  }
  const items = text.split(',')
  const ranges = items.map(parseRange)
  const bad = items.find((_, i) => ranges[i] === undefined)
  if (bad !== undefined) {
    const full = items.map((item, i) => (ranges[i] ? item : inFull(item)))
    const meant = full.includes(undefined) ? undefined : full.join()
    return diagnose('address-unsupported', place, { text: bad, meant })
  }
  const family = (ranges[0] as Range).family
  // A rule of a group belongs to the administrator.
  const owner = names.own ? (names.vmid ?? 'list') : 'list'
  return { [family]: matchOf(ranges as Range[], owner) }
}

/** The one address that a text names, as a literal or an alias. */
export function resolveHost(text: string, names: NameScope, place: Place): Range | Diagnostic {
  const matches = text.startsWith('+') ? {} : resolveAddresses(text, names, place)
  if ('code' in matches) return matches
  const found = Object.values(matches)
  const only = found.length === 1 && found[0]?.ranges !== 'any' ? found[0]?.ranges : undefined
  const [host] = only ?? []
  if (host && only?.length === 1 && host.lo === host.hi) return host
  return diagnose('dest-many', place, { text, hosts: fewHosts(text, names, place) })
}

/** More would be a list to read, not a choice. */
const MAX_HOSTS = 4

/** The addresses that a destination names; none when they are many. Members of sets are not shown to owners of guests. */
function fewHosts(text: string, names: NameScope, place: Place): string[] {
  const matches = text.startsWith('+') ? {} : resolveAddresses(text, names, place)
  if ('code' in matches) return []
  const ranges = Object.values(matches).flatMap(({ ranges }) => (ranges === 'any' ? [] : ranges))
  const count = ranges.reduce((total, { lo, hi }) => total + (hi - lo + 1n), 0n)
  if (count > MAX_HOSTS || ranges.some((range) => isNetwork(range))) return []
  return ranges.flatMap(({ family, lo, hi }) =>
    Array.from({ length: Number(hi - lo) + 1 }, (_, i) => formatIp(family, lo + BigInt(i))),
  )
}

/** Of a network the first address is no host. */
function isNetwork(range: Range): boolean {
  return range.lo < range.hi && prefixLength(range) !== undefined
}

/** The owner of a set: a guest (VMID), cluster.fw (0), SDN, or a list of the administrator. */
export type Owner = number | 'sdn' | 'list'

/** The owner of the lists in a rule of that scope. */
export function listOwner(scope: Scope): Owner {
  return scope.kind === 'guest' ? scope.guest.vmid : 'list'
}

/** One network or range needs no set. A range of all addresses is `any`. */
export function matchOf(ranges: Range[], owner: Owner): Clients {
  const [first] = ranges
  if (first && ranges.some((range) => contains(range, everything(range.family)))) return ANY
  const clients = clientsOf([...ranges].sort((a, b) => ascending(a.lo, b.lo)))
  if (!first || ranges.length === 1) return clients
  const entries = ranges.flatMap(toNetworks).map(formatRange)
  return { ...clients, set: namedSet(owner, `list ${entries.join()}`, first.family, entries) }
}

function clientsOf(ranges: Range[]): Clients {
  return { ranges, key: shortHash(ranges.map(formatRange).sort().join()) }
}

/** A network without some of its addresses. */
export function matchWithout(network: Range, holes: readonly Range[]): Clients {
  const clients = clientsOf(holes.reduce(without, [network]))
  if (holes.length === 0 || clients.ranges.length === 0) return clients
  const entries = [formatRange(network), ...holes.map((hole) => `${formatRange(hole)} nomatch`)]
  return { ...clients, set: namedSet('list', `without ${entries.join()}`, network.family, entries) }
}

function resolveSet(text: string, names: NameScope, place: Place): Matches | Diagnostic {
  const { scope, name }: Reference = setReference(text) ?? { name: text.slice(1) }
  const { cluster, own, sdnSets, vmid = 0 } = names
  const isOf = (one: Reference['scope']): boolean => scope === undefined || scope === one
  const inGuest = isOf('guest') ? own?.ipset.get(name) : undefined
  const inCluster = isOf('dc') ? cluster.ipset.get(name) : undefined
  const set = inGuest ?? inCluster ?? (isOf('sdn') ? sdnSets.get(name) : undefined)
  if (!set) {
    const meant = nearestName('ipset', name, names)
    return diagnose('set-missing', place, { name, where: where(scope), meant })
  }
  if (set.entries.length > SET_MEMBERS)
    return diagnose('unsupported', place, {
      what: `ipset '${name}' has more than ${SET_MEMBERS} entries`,
      help: 'split it into several ipsets, and write a rule for each of them',
    })
  const owner = inGuest ? vmid : inCluster ? 0 : 'sdn'
  const { matches, unusable } = setMatches(set, name, owner, names, !inGuest)
  if (unusable) return diagnose('set-exception', place, { name, ...unusable })
  return Object.keys(matches).length > 0 ? matches : diagnose('set-empty', place, { name })
}

/** The addresses of a set, read once (see `View.setMatches`). */
function setMatches(set: FwSet, name: string, owner: Owner, names: NameScope, isShared: boolean): SetMatches {
  const known = names.setMatches.get(set)
  if (known) return known
  const aliases = isShared ? { cluster: names.cluster } : names
  const matches = Object.fromEntries(
    FAMILIES.flatMap((family) => {
      const match = setMatch(set, name, owner, family, aliases)
      if (match.set && isShared) match.set.shared = true
      return match.ranges.length > 0 ? [[family, match] as const] : []
    }),
  )
  const read = { matches, unusable: unusableException(set, aliases) }
  names.setMatches.set(set, read)
  return read
}

/** An entry with `!` that pve-firewall rejects or that names no network. The same exception twice does no harm. */
function unusableException({ entries }: FwSet, names: Aliases): SetMatches['unusable'] {
  const usable = new Set<string>()
  for (const { cidr, nomatch, errors } of entries) {
    if (nomatch !== 1 || usable.has(cidr)) continue
    const range = parseCidr(entryCidr(cidr, names) ?? '')
    if (errors?.cidr !== undefined) return { entry: `!${cidr}`, reason: errors.cidr }
    if (!range) return { entry: `!${cidr}`, reason: 'it is no address or network' }
    usable.add(cidr)
  }
  return undefined
}

function setMatch(set: FwSet, name: string, owner: Owner, family: Family, names: Aliases): Clients {
  const entries = new Map<string, { range: Range; nomatch: boolean }>()
  for (const { cidr, nomatch = 0, errors } of set.entries) {
    const range = errors ? undefined : parseCidr(entryCidr(cidr, names) ?? '')
    if (range?.family !== family) continue
    const text = formatRange(range)
    // The kernel keeps a network once; named both ways it does not match.
    entries.set(text, { range, nomatch: nomatch === 1 || entries.get(text)?.nomatch === true })
  }
  const lines = [...entries].map(([text, { nomatch }]) => text + (nomatch ? ' nomatch' : ''))
  return { ...clientsOf(effective([...entries.values()])), set: namedSet(owner, name, family, lines) }
}

type Aliases = Pick<NameScope, 'cluster' | 'own'>

interface Entry {
  range: Range
  nomatch: boolean
}

/**
 * The addresses that a hash:net set matches: the longest network around an address decides. Networks are nested or apart, so one pass over
 * them in order is enough; `open` holds the networks around the current address.
 */
function effective(entries: readonly Entry[]): Range[] {
  const sorted = [...entries].sort(
    (a, b) => ascending(a.range.lo, b.range.lo) || ascending(b.range.hi, a.range.hi),
  )
  const ranges: Range[] = []
  const open: Entry[] = []
  let at = 0n
  const advance = (end: bigint): void => {
    const top = open.at(-1)
    if (top && !top.nomatch && at < end) append(ranges, { family: top.range.family, lo: at, hi: end - 1n })
    if (at < end) at = end
  }
  const close = (before: bigint | undefined): void => {
    for (let top = open.at(-1); top && (before === undefined || top.range.hi < before); top = open.at(-1)) {
      advance(top.range.hi + 1n)
      open.pop()
    }
  }
  for (const entry of sorted) {
    close(entry.range.lo)
    advance(entry.range.lo)
    open.push(entry)
  }
  close(undefined)
  return ranges
}

function append(ranges: Range[], range: Range): void {
  const last = ranges.at(-1)
  if (last && last.hi + 1n === range.lo) last.hi = range.hi
  else ranges.push(range)
}

/**
 * `pvenat-OWNER-HASH-vF`: no text of a user goes to the kernel, not even a name. A guest can make hashes collide, but only with its own
 * sets.
 */
function namedSet(owner: Owner, name: string, family: Family, entries: string[]): KernelSet {
  return {
    name: `pvenat-${owner}-${shortHash(name)}-v${family}`,
    type: 'hash:net',
    family,
    entries: [...new Set(entries)].sort(),
  }
}

function where(scope: string | undefined): string {
  if (scope === 'guest') return "the guest's firewall"
  return scope === 'dc'
    ? 'the datacenter firewall'
    : scope === 'sdn'
      ? 'SDN'
      : 'the firewall of the guest or datacenter'
}

/** `10/8`, `10.0.0.0/255.0.0.0` as ADDRESS/LENGTH; undefined where pve-firewall and the kernel may read them in different ways. */
function inFull(text: string): string | undefined {
  const [, quads = '', behind = ''] =
    /^((?:\d{1,3}\.){0,3}\d{1,3})\/(\d{1,2}|255(?:\.\d{1,3}){3})$/.exec(text) ?? []
  const address = parseIp([...quads.split('.'), '0', '0', '0'].slice(0, 4).join('.'))
  const mask = behind.includes('.') ? parseIp(behind) : undefined
  const all = everything(4).hi
  const length = mask ? prefixLength({ family: 4, lo: 0n, hi: all - mask.lo }) : Number(behind)
  const range = address && length !== undefined ? parseCidr(`${formatRange(address)}/${length}`) : undefined
  return range && formatRange(range)
}
