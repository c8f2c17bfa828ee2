/** Marked rules → NAT rules, their granted forwards, and diagnostics. */
import { addressKey, FAMILIES, type Family, type Range } from '../address.ts'
import { diagnose, isError, word, type Code, type Diagnostic } from '../diagnostic.ts'
import { label } from '../guest/guest.ts'
import { makeFileCache, type FileCache } from '../file-cache.ts'
import { answer } from './ask.ts'
import { giveAll, type Given, type Read } from './auto.ts'
import { namesOf } from './match.ts'
import { ownBlock } from './port-blocks.ts'
import { grantAll, grantedForwards } from './conflicts.ts'
import { parseComment, type NatComment } from './comment.ts'
import { translateBlock, translateEgress } from './egress.ts'
import { asksOf } from './asks.ts'
import { translateForward } from './forward.ts'
import { punchAll } from './holes.ts'
import { collectMarked, fieldPlace, sources, type Collected, type Marked, type Source } from './marked.ts'
import { fillWishes } from './free-ports.ts'
import { lastingRights, nextRights, withoutHeldAddresses } from './ledger.ts'
import { openAccounts, tellSome, type Accounts } from './limits.ts'
import { reportLosses } from './losses.ts'
import { uniqueId } from './id.ts'
import type { Dispatch, NatRule } from './nat-rule.ts'
import type { Order } from './order.ts'
import { namedIn, type Named } from './named.ts'
import { chooseNics } from './guest-addresses.ts'
import { aroundOf } from './pairing.ts'
import { forbidden } from './policy.ts'
import { ruleProblems } from './reading.ts'
import type { Right } from './rights.ts'
import type { View } from './view.ts'

export interface Translation {
  /** Every marked rule, in the order of evaluation. */
  rules: NatRule[]
  dispatch: Record<Family, Dispatch>
  diagnostics: Diagnostic[]
  /** The rights of before that did not end. */
  lasting: Right[]
  /** The rights of guests from now on. */
  rights: Right[]
}

export function translate(view: View, cache: FileCache = makeFileCache()): Translation {
  const all = sources(view)
  const admins = all.filter(({ scope }) => scope.kind !== 'guest')
  const texts = [view.cluster.groups, ...admins.flatMap(({ fw, off }) => [fw.rules, off])]
  const facts = [view.network, view.services]
  const named = cache.keep(
    'named',
    cache.make('named by files', [...texts, ...facts], () => namedIn(admins, view)),
  )
  const files = all.map((source) => translateFile(source, view, named, cache))
  const addresses = cache.keep(
    'addresses',
    view.network.external.flatMap((one) => one.addresses),
  )
  const { rights, known, unjudged } = view
  return cache.make('resolved', [addresses, rights, known, unjudged, ...files], () =>
    resolve(files, addresses, view),
  )
}

/** The rules of all files together: rights, conflicts, diagnostics. */
function resolve(files: readonly TranslatedFile[], addresses: readonly Range[], view: View): Translation {
  const all = files.flatMap((file) => file.rules)
  const held = lastingRights(view, all)
  const settled = withoutHeldAddresses(all, held)
  const claimants = settled.rules.filter(({ state }) => state === 'active')
  const forwards = claimants.flatMap((rule) => (rule.kind === 'exempt' ? [] : rule.forwards))
  const holes = claimants.flatMap((rule) => (rule.kind === 'exempt' ? rule.forwards : []))
  const punched = punchAll(forwards, holes)
  const grantFamily = (family: Family): ReturnType<typeof grantAll> =>
    grantAll(
      punched.filter((forward) => forward.family === family),
      addresses.filter((address) => address.family === family),
      lyingElsewhere(claimants, addresses, family),
      held,
    )
  const [v4, v6] = [grantFamily(4), grantFamily(6)]
  const dispatch = { 4: v4.dispatch, 6: v6.dispatch }
  const losses = reportLosses([...v4.losses, ...v6.losses], [v4.dispatch, v6.dispatch])
  const diagnostics = [
    ...collectDiagnostics(files),
    ...files.flatMap((file) => file.diagnostics),
    ...settled.diagnostics,
    ...losses.map(({ diagnostic }) => diagnostic),
  ]
  const reasons = new Map(losses.map(({ loser, diagnostic }) => [loser, word(diagnostic).message]))
  const rules = markLosers(settled.rules, dispatch, reasons)
  return {
    rules,
    dispatch,
    diagnostics: fillWishes(tellSome(unique(diagnostics)), originIn(files), dispatch, view),
    lasting: held,
    rights: nextRights(held, rules, dispatch),
  }
}

/** The marked rule of a NAT rule. */
function originIn(files: readonly TranslatedFile[]): (id: string) => Marked | undefined {
  let byId: ReadonlyMap<string, Marked | undefined> | undefined
  return (id) => {
    byId ??= new Map(
      files.flatMap(({ rules, collected }) =>
        rules.map((rule, i) => [rule.id, collected.marked[i]] as const),
      ),
    )
    return byId.get(id)
  }
}

/** Addresses that rules name and no external interface carries: on lo, on another bridge, of a routed subnet. */
function lyingElsewhere(rules: readonly NatRule[], addresses: readonly Range[], family: Family): Range[] {
  const known = new Set(addresses.map(addressKey))
  const named = rules.flatMap(({ asked, forwards }) => (asked?.address ? (forwards[0]?.external ?? []) : []))
  const others = named.filter((one) => one.family === family && !known.has(addressKey(one)))
  return [...new Map(others.map((one) => [addressKey(one), one])).values()]
}

/** The NAT rules of one file, before conflicts with other files. */
interface TranslatedFile {
  source: Source
  collected: Collected
  rules: NatRule[]
  diagnostics: Diagnostic[]
}

/** The result depends on the inputs of the cache and on nothing else of the view. */
function translateFile(source: Source, view: View, named: Named, cache: FileCache): TranslatedFile {
  const { fw, scope, off, help, file } = source
  const { cluster, network, settings, sdnSets, known, evidence, consulted, firewall, isClustered } = view
  const own = [file, fw.rules, fw.skipped, fw.aliases, fw.ipset, off, help]
  const guest = scope.kind === 'guest' ? scope.guest : undefined
  const shared = [
    cluster.aliases,
    cluster.ipset,
    cluster.groups,
    network,
    settings,
    sdnSets,
    known,
    evidence,
    consulted,
    named,
  ]
  const node = [
    firewall,
    isClustered,
    view.host.options['nf_conntrack_helpers'],
    view.nodePorts,
    view.services,
    view.quarantined,
    (guest && ownBlock(guest.vmid, view.blocks)?.join()) ?? view.blocks,
  ]
  return cache.make(`rules of ${file}`, [...own, guest, ...shared, ...node], () => {
    const collected = collectMarked(source, view)
    const ids = new Map<string, number>()
    const accounts = openAccounts()
    const read = collected.marked.map((marked) => ({ marked, comment: readComment(marked, view) }))
    const given = giveAll(read, view)
    const all = read.map((one, i) => ({ one, id: uniqueId(one.marked, ids), given: given[i] }))
    // The last line first: a rule on top takes nothing from older ones.
    const done = all.reverse().map(({ one, id, given: ports }) => {
      const said: Diagnostic[] = []
      return { rule: translateRule(one, ports, id, view, named, accounts, said), said }
    })
    done.reverse()
    const rules = done.map(({ rule }) => rule)
    return { source, collected, rules, diagnostics: done.flatMap(({ said }) => said) }
  })
}

/** A firewall that is off gets one diagnostic, at the first rule that it stops. */
function collectDiagnostics(files: readonly TranslatedFile[]): Diagnostic[] {
  const said = new Set<string>()
  return files.flatMap(({ source: { off }, collected: { diagnostics, stopped, skipped } }) => {
    const isNew = stopped !== undefined && !said.has(off)
    if (isNew) said.add(off)
    return [...diagnostics, ...(isNew ? [stopped] : []), ...skipped]
  })
}

function readComment(marked: Marked, { network, services }: View): NatComment {
  const around = aroundOf(marked.rule, network, services)
  return parseComment(marked.rule.comment, fieldPlace(marked, 'comment'), around)
}

function translateRule(
  { marked, comment }: Read,
  given: Given | undefined,
  id: string,
  view: View,
  named: Named,
  accounts: Accounts,
  diagnostics: Diagnostic[],
): NatRule {
  const { rule, place, scope, off } = marked
  const inner = rule.spans.dest ? 'dest' : rule.type === 'out' && rule.spans.source ? 'source' : undefined
  const kind = kindOf(marked, comment)
  const nat: NatRule = {
    id,
    kind,
    state: 'active',
    reason: '',
    isMeant: rule.enable === 1,
    scope,
    place,
    where: comment.places.ports ?? comment.places.address ?? comment.places.endpoint ?? comment.places.all,
    asked: comment.endpoint,
    askedInterface: comment.if ?? (scope.kind === 'guest' ? undefined : marked.iface),
    whereAddress: comment.places.address,
    whereInner: comment.places.to ?? (inner && fieldPlace(marked, inner)),
    comment: rule.comment,
    source: rule.source ?? '',
    forwards: [],
    egresses: [],
    blocks: [],
    asks: [],
    isGivenUp: marked.isGivenUp,
  }
  if (accounts.isOver(scope))
    return { ...nat, state: 'error', reason: 'beyond the limits of one guest', isGivenUp: true }
  const own = fill({ nat, marked, comment, view, named }, given)
  if (off !== '') return { ...nat, state: 'inactive', reason: off }
  if (own.some(({ code }) => FORBIDDEN.includes(code))) nat.isGivenUp = true
  const limit = own.some(isError) ? undefined : accounts.charge(nat)
  if (limit) {
    own.push(limit)
    nat.isGivenUp = true
  }
  const answer = view.quarantined.get(id)
  if (answer !== undefined) own.push(diagnose('quarantined', place, { answer }))
  diagnostics.push(...own)
  const stopper =
    own.find(isError) ??
    own.find(({ code }) => IDLE.includes(code) || (code === 'source-public' && nat.egresses.length === 0))
  if (!stopper) return nat
  const state = answer !== undefined ? 'quarantined' : isError(stopper) ? 'error' : 'inactive'
  return { ...nat, state, reason: word(stopper).message, isMeant: stopper.code !== 'elsewhere' }
}

/** The settings forbid what the rule asks for. */
const FORBIDDEN: readonly Code[] = [
  'port-forbidden',
  'block-none',
  'block-taken',
  'block-unknown',
  'address-forbidden',
  'snat-forbidden',
]

/** Such a rule is correct but has no effect on this node now. */
const IDLE: readonly Code[] = ['asked', 'external-none', 'elsewhere', 'set-empty']

function kindOf({ rule }: Marked, comment: NatComment): NatRule['kind'] {
  if (rule.action === 'DROP' || rule.action === 'REJECT') return 'block'
  if (comment.endpoint?.kind === 'none') return 'exempt'
  return rule.type === 'out' ? 'egress' : 'forward'
}

/** Adds forwards, egresses and blocks to `nat`; returns the diagnostics. */
function fill(
  { nat, marked, comment, view, named }: Omit<Order, 'names'>,
  given: Given | undefined,
): Diagnostic[] {
  const { rule, place, scope, own } = marked
  const problems = ruleProblems(rule, place, comment, { cluster: view.cluster, own })
  if (problems.some(isError)) return [...problems]
  const vmid = scope.kind === 'guest' ? scope.guest.vmid : undefined
  const names = namesOf(view, own, vmid)
  if (given && 'code' in given)
    return [...problems, { ...given, facts: { ...(given.facts as object), wish: nat.id } }]
  const order = { nat, marked, comment, names, view, named, given }
  if (nat.kind === 'block') return [...problems, ...block(order)]
  if (comment.endpoint?.kind === 'ask') return [...problems, answer(order)]
  const nic = missingNic(order)
  if (nic) return [...problems, nic]
  const said = rule.type === 'out' ? translateEgress(order) : translateForward(order)
  if (nat.forwards.length === 0 && nat.egresses.length === 0) nat.asks = asksOf(order)
  const problem = forbidden(nat, view)
  return [...problems, ...said, ...(problem ? [problem] : [])]
}

/** pve-firewall applies such a rule to no NIC. */
function missingNic({ marked: { scope, iface, place } }: Order): Diagnostic | undefined {
  if (scope.kind !== 'guest' || iface === undefined || chooseNics(scope.guest, iface).length > 0)
    return undefined
  return diagnose('guest-nic', place, { guest: label(scope.guest), nic: iface })
}

function block(order: Order): Diagnostic[] {
  const { nat, marked, comment } = order
  const { action } = marked.rule
  if (nat.scope.kind === 'guest') return [diagnose('guest-action', nat.place, { action })]
  if (!comment.endpoint) return translateBlock(order)
  const reason = `a ${action} rule blocks; it takes no address and no ports in the comment`
  return [diagnose('option-conflict', nat.where, { reason })]
}

/** A rule that lost every port is in conflict; one that lost some says so. */
function markLosers(
  rules: readonly NatRule[],
  dispatch: Record<Family, Dispatch>,
  reasons: ReadonlyMap<NatRule, string>,
): NatRule[] {
  if (reasons.size === 0) return [...rules]
  const granted = new Set(
    FAMILIES.flatMap((family) => grantedForwards(dispatch[family])).map(({ rule }) => rule),
  )
  return rules.map((rule) => {
    const reason = reasons.get(rule)
    return reason === undefined ? rule : { ...rule, reason, state: granted.has(rule) ? 'active' : 'conflict' }
  })
}

/** A rule of a group gets one diagnostic for all guests that pull it in; a public network gets one at its first rule. */
function unique(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const seen = new Map<string, Diagnostic>()
  for (const one of diagnostics) {
    const { code, place } = one
    const key = JSON.stringify([code, code === 'source-public' ? undefined : place, word(one).message])
    if (!seen.has(key)) seen.set(key, one)
  }
  return [...seen.values()]
}
