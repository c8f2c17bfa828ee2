/**
 * Limits of one guest. The owner of a single guest may write a megabyte of rules into its firewall. Rules are counted from the last line up:
 * a new rule at the top takes nothing from older rules. The first rule beyond a limit gets a diagnostic; this rule and all rules above it are
 * not in force. Other guests are not affected.
 */
import { diagnose, isError, type Diagnostic, type Place } from '../diagnostic.ts'
import { label } from '../guest/guest.ts'
import { sum } from '../lists.ts'
import type { Forward, KernelSet, NatRule, Scope } from './nat-rule.ts'
import { guestOfFile } from './view.ts'

/** For one guest. Forwards and egress rules are counted as they are rendered: one family, one protocol, one range of ports. */
export const GUEST_LIMITS = {
  /** Marked rules, switched on or off, those of the groups that it pulls in included. */
  rules: 250,
  forwards: 1024,
  /** Forwards times one more than there are exemptions (`NAT none` in IN rules): each may cut every forward. */
  pieces: 4096,
  /** OUT rules, `NAT none` included. */
  egresses: 512,
  /** Networks in its own sets and lists, each set once. Sets of the datacenter are not its own. */
  members: 8192,
  /** External ports in ranges of up to 256: each is an entry of the set by which guests reach themselves. */
  ports: 4096,
} as const

/** Marked rules of cluster.fw and of host.fw. */
const ADMIN_RULES = 10_000

/** Networks of one set, of any owner. This is the default maximum of ipset; a larger set is a mistake. */
export const SET_MEMBERS = 65_536

/** Diagnostics that are shown of one file. */
const TOLD = { guest: 100, admin: 200 }

/** Winners that are named for one forward that lost ports. */
export const TOLD_WINNERS = 20

/** Wider ranges are matched by a rule (ruleset/self-hairpin.ts). */
const NARROW = 256

export function maxRules({ kind }: Scope): number {
  return kind === 'guest' ? GUEST_LIMITS.rules : ADMIN_RULES
}

type Counted = Exclude<keyof typeof GUEST_LIMITS, 'rules'>
type Cost = Record<Counted | 'exemptions', number>

interface Account {
  used: Cost
  /** Names of the sets that are counted already. */
  sets: Set<string>
  isOver: boolean
}

export interface Accounts {
  /** Whether a rule of this scope went beyond a limit. */
  isOver: (scope: Scope) => boolean
  /** Counts a translated rule; a diagnostic when it is the first that goes beyond a limit. */
  charge: (rule: NatRule) => Diagnostic | undefined
}

const WHAT: Record<Counted, string> = {
  forwards: 'forwards (a protocol and a range of ports each)',
  pieces: 'forwards cut by exemptions',
  egresses: 'OUT rules (a protocol and a range of ports each)',
  members: 'networks in sources and destinations',
  ports: 'external ports',
}

/** New accounts for one pass over all rules. Only guests have limits here. */
export function openAccounts(): Accounts {
  const accounts = new Map<number, Account>()
  return {
    isOver: (scope) => scope.kind === 'guest' && accounts.get(scope.guest.vmid)?.isOver === true,
    charge(rule) {
      if (rule.scope.kind !== 'guest') return undefined
      const { guest } = rule.scope
      const account = accounts.get(guest.vmid) ?? { used: { ...NOTHING }, sets: new Set(), isOver: false }
      accounts.set(guest.vmid, account)
      const cost = costOf(rule, account.sets)
      for (const what of Object.keys(cost) as (keyof Cost)[]) account.used[what] += cost[what]
      account.used.pieces = account.used.forwards * (1 + account.used.exemptions)
      const over = (Object.keys(WHAT) as Counted[]).find((what) => account.used[what] > GUEST_LIMITS[what])
      if (!over) return undefined
      account.isOver = true
      return diagnose('limit', rule.where, {
        of: ownerName(rule.scope),
        what: WHAT[over],
        limit: GUEST_LIMITS[over],
      })
    },
  }
}

/** More marked rules than a scope may have. `place`: of the first rule beyond, counted from the last one. */
export function tooManyRules(scope: Scope, place: Place): Diagnostic {
  return diagnose('limit', place, { of: ownerName(scope), what: 'rules marked NAT', limit: maxRules(scope) })
}

function ownerName(scope: Scope): string {
  if (scope.kind === 'guest') return `guest ${label(scope.guest)}`
  return scope.kind === 'host' ? 'the firewall of this node' : 'the datacenter firewall'
}

const NOTHING: Cost = { forwards: 0, exemptions: 0, pieces: 0, egresses: 0, members: 0, ports: 0 }

function costOf({ kind, forwards, egresses }: NatRule, known: Set<string>): Cost {
  const matches = [
    ...forwards.map(({ source }) => source),
    ...egresses.flatMap(({ source, destination }) => [source, destination]),
  ]
  const members = sum(matches.map(({ set }) => ownMembers(set, known)))
  if (kind === 'exempt')
    return { ...NOTHING, exemptions: forwards.length, egresses: egresses.length, members }
  const ports = sum(forwards.map(narrowPorts))
  return { ...NOTHING, forwards: forwards.length, egresses: egresses.length, members, ports }
}

function narrowPorts({ ports }: Forward): number {
  const width = ports ? ports[1] - ports[0] + 1 : 0
  return width <= NARROW ? width : 0
}

/** Members of the guest's own sets and of lists, each once. */
function ownMembers(set: KernelSet | undefined, known: Set<string>): number {
  if (!set || set.shared || known.has(set.name)) return 0
  known.add(set.name)
  return set.entries.length
}

/** The first errors and the first other diagnostics of each file, then one diagnostic that there are more. */
export function tellSome(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const told = new Map<string, number>()
  return diagnostics.flatMap((one): Diagnostic[] => {
    const { file } = one.place
    const limit = guestOfFile(file) === 0 ? TOLD.admin : TOLD.guest
    const key = `${isError(one) ? 'error' : 'other'} ${file}`
    const count = (told.get(key) ?? 0) + 1
    told.set(key, count)
    if (count <= limit) return [one]
    return count === limit + 1 ? [diagnose('told-some', one.place, { limit })] : []
  })
}
