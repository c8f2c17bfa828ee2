/**
 * What rules that are not pvenat's do to a packet and its answer, at every hook of the kernel that they pass: filters of nft and
 * iptables, the nftables firewall, NAT.
 */
import { sameRange } from '../address.ts'
import { BACKENDS, type Backend } from '../facts/backend.ts'
import { forwardPolicy, linkOf, type NodeFacts } from '../facts/node-facts.ts'
import { foreignNat, foreignPlace, mayConcern } from '../facts/foreign.ts'
import type { Nftables } from '../facts/nftables.ts'
import { savedFilters } from '../facts/saved-filters.ts'
import type { Met } from './fields.ts'
import { changes, DEVICE_HOOKS, judge, type At, type Judged } from './filters.ts'
import { wayTo } from './kernel-way.ts'
import { letPass } from './let-pass.ts'
import type { Packet } from './packet.ts'
import { notForwarded } from './pvefirewall.ts'
import type { Trail } from './step.ts'
import type { Flow } from './walk.ts'
import type { World } from './world.ts'

const DAEMON = 'proxmox-firewall'

/** Priorities at which the kernel translates the destination and the source (linux/netfilter_ipv4.h). */
const DSTNAT = -100
const SRCNAT = 100

/**
 * Before its destination is translated: the wire, and PREROUTING, or OUTPUT of the node's own. Returns the rule that keeps the packet from
 * connection tracking, so that nothing translates it.
 */
export function checkArrival(world: World, flow: Flow, trail: Trail): string | undefined {
  const { facts } = world
  const filters = filtersOf(facts, flow.family, false)
  const met = { ...flow, returnsBy: wayTo(world, flow.source, trail) }
  if (flow.in !== undefined) checkWire(world, flow.in, ARRIVING, met, trail)
  const judged = judge(filters, { ...entry(flow), below: DSTNAT }, met)
  for (const one of judged) refuse(one, met, trail)
  return judged.find(({ verdict }) => verdict === 'untracked')?.place
}

/** Behind that translation, before routing. */
export function checkTranslated(world: World, flow: Flow, trail: Trail): void {
  const filters = filtersOf(world.facts, flow.family, false)
  const met = { ...flow, returnsBy: wayTo(world, flow.source, trail) }
  for (const one of judge(filters, { ...entry(flow), from: DSTNAT }, met)) refuse(one, met, trail)
}

/** Rules of others that mark a packet where routing rules of others ask for marks: which way it takes is not known. */
export function checkMarks({ view, facts }: World, met: Met, trail: Trail): void {
  if (!view.network.foreign?.[met.family].rules.some(({ mark }) => mark !== undefined)) return
  const [place] = changes(filtersOf(facts, met.family, false), { ...met, out: undefined }, 'mark')
  if (place === undefined) return
  const what = met.isAnswer ? 'the answer' : 'it'
  trail.doubt(
    `A rule that is not pvenat's may mark ${what}, and a routing rule of others asks for marks.`,
    place,
    'ip rule show',
  )
}

/** INPUT, where a packet ends at the node itself. */
export function checkInput({ facts }: World, flow: Flow, trail: Trail): void {
  const filters = filtersOf(facts, flow.family, false)
  for (const one of judge(filters, { hook: 'input', type: 'filter' }, flow)) refuse(one, flow, trail)
}

/** FORWARD for a routed packet and its answer: of the table filter of iptables up to our own accept, if that `isAccepted`. */
export function checkOthers(world: World, flow: Flow, isAccepted: boolean, trail: Trail): void {
  const { facts } = world
  const filters = filtersOf(facts, flow.family, isAccepted)
  checkDaemon(world, flow, judge(facts.nftables, FORWARD, flow), trail)
  for (const met of [flow, answerTo(flow)])
    for (const one of judge(filters, FORWARD, met)) refuse(one, met, trail)
}

/** A packet and its answer on the firewall bridge of a guest, where br_netfilter has them meet the hooks of IP, too. */
export function checkBridged({ facts }: World, bridge: string, packet: Packet, trail: Trail): void {
  const native = nativeFilters(facts.nftables)
  const flow: Met = { ...packet, in: bridge, out: bridge, dnat: false }
  for (const met of [flow, answerTo(flow)])
    for (const hook of ['prerouting', 'forward', 'postrouting'])
      for (const one of judge(native, { hook, type: 'filter' }, met)) refuse(one, met, trail)
}

/** Behind routing: POSTROUTING with its source as it was `before` and as it is `after` its translation, the wire, and the way of its answer. */
export function checkLeaving(world: World, before: Flow, after: Flow, trail: Trail): void {
  const { facts } = world
  const filters = filtersOf(facts, before.family, false)
  const isTranslated = before.dnat || !sameRange(after.source, before.source)
  for (const [at, met] of waysOut(before, after, before.original))
    for (const one of judge(filters, at, met)) {
      if (one.verdict === 'untracked' && isTranslated)
        requireTracked({ untracked: one.place }, trail, 'its answer back')
      refuse(one, met, trail)
    }
  if (isTranslated) checkZones(filters, before, after, trail)
  if (after.out !== undefined) {
    // br_netfilter has a bridge send on by itself what comes back to it.
    const isSure = before.in !== after.out
    checkWire(world, after.out, LEAVING, after, trail, isSure)
    checkWire(world, after.out, ARRIVING, answerTo(after), trail, isSure)
    if (before.in !== undefined)
      checkWire(world, before.in, LEAVING, answerOut(before, before.original), trail, isSure)
  }
}

/** A packet and its answer have to be in one zone of connection tracking. */
function checkZones(filters: Nftables, before: Flow, after: Flow, trail: Trail): void {
  const arriving: Met = { ...before, ...before.original, out: undefined, dnat: false }
  const answering: Met = { ...answerTo(after), out: undefined }
  const [own, other] = [arriving, answering].map((met) => changes(filters, met, 'zone'))
  if (String(own) === String(other)) return
  trail.doubt(
    "A rule that is not pvenat's may put it and its answer into different zones of connection tracking.",
    ...new Set([...(own ?? []), ...(other ?? [])]),
  )
}

/**
 * Where hooks behind FORWARD meet a packet, and those on the way of its answer: with its source as it was `before` and as it is `after` its
 * translation. `asked`: as the client sent it.
 */
function waysOut(before: Met, after: Met, asked: Asked): [At, Met][] {
  const leave = { hook: 'postrouting', type: 'filter' } as const
  const enter = { hook: 'prerouting', type: 'filter' } as const
  const back = { ...answerTo(after), out: undefined }
  // Each address is translated back at the priority at which the other one was.
  const restored = { ...back, destination: before.source }
  return [
    [{ ...leave, below: SRCNAT }, before],
    [{ ...leave, from: SRCNAT }, after],
    [{ ...enter, below: DSTNAT }, back],
    [{ ...enter, from: DSTNAT }, restored],
    ...(before.in === undefined
      ? []
      : ([
          [
            { ...leave, below: SRCNAT },
            { ...restored, out: before.in },
          ],
          [{ ...leave, from: SRCNAT }, answerOut(before, asked)],
        ] as [At, Met][])),
  ]
}

type Asked = Pick<Met, 'destination' | 'dport'>

/** The answer as the client gets it. */
function answerOut(before: Met, asked: Asked): Met {
  const answer = { ...answerTo(before), in: undefined }
  return before.dnat ? { ...answer, source: asked.destination, sport: asked.dport } : answer
}

/**
 * The first rule of others that surely drops a packet or its answer, or keeps it from its translation: as it is `arriving`, where it is
 * translated, and as it is `routed`.
 */
export function lossOf(
  filters: Nftables,
  arriving: Met | undefined,
  routed: Met,
): (Judged & { met: Met }) | undefined {
  const prerouting: At = { hook: 'prerouting', type: 'filter' }
  const begins = { ...routed, out: undefined }
  const ways: [At, Met][] = [
    [{ ...prerouting, below: DSTNAT }, arriving ?? begins],
    [{ ...prerouting, from: DSTNAT }, begins],
    [FORWARD, routed],
    [FORWARD, answerTo(routed)],
    // By which source it leaves is not asked.
    ...waysOut(routed, { ...routed, source: undefined }, arriving ?? {}),
  ]
  return ways
    .flatMap(([at, met]) => judge(filters, at, met).map((one) => ({ ...one, met })))
    .find(({ verdict, chain }) => ['drop', 'untracked'].includes(verdict) && chain.table !== DAEMON)
}

const FORWARD: At = { hook: 'forward', type: 'filter' }

function entry({ in: from }: Flow): At {
  return { hook: from === undefined ? 'output' : 'prerouting', type: 'filter' }
}

const ARRIVING = ['ingress', 'prerouting', 'input']
const LEAVING = ['output', 'postrouting', 'egress']
const CROSSING = ['ingress', 'prerouting', 'forward', 'postrouting', 'egress']

/** A frame that crosses a bridge of the node and is not routed. */
export function checkCrossing(world: World, bridge: string, packet: Packet, trail: Trail): void {
  checkWire(world, bridge, CROSSING, { ...packet, dnat: false }, trail)
}

/** Rules on the frames of an interface and of what is plugged into it; which of its ports a frame takes is not known. */
function checkWire(
  { facts }: World,
  dev: string,
  hooks: readonly string[],
  met: Met,
  trail: Trail,
  isSure = true,
): void {
  const isOn = (name: string): boolean => name === dev || linkOf(facts, name)?.master === dev
  const isBridge = facts.links.some(({ master }) => master === dev)
  const chains = facts.nftables.chains.filter(
    ({ family, table, devices }) =>
      table !== 'pvenat' &&
      !table.startsWith(DAEMON) &&
      (family !== 'bridge' || isBridge) &&
      (devices?.some(isOn) ?? true),
  )
  for (const hook of hooks) {
    const at: At = { layer: 'wire', hook, type: 'filter' }
    const frame: Met = { ...met, in: undefined, out: undefined, isUnseen: true }
    for (const one of judge({ ...facts.nftables, chains }, at, frame)) {
      // Nft before 1.0.7 does not tell at which interface a chain is.
      const isElsewhere = DEVICE_HOOKS.includes(hook) && one.chain.devices === undefined
      refuse(isElsewhere || !isSure ? { ...one, verdict: 'unknown' } : one, frame, trail)
    }
  }
}

/** The answer to a packet, where the hooks behind routing meet it. */
export function answerTo(met: Met): Met {
  const { source, destination, sport, dport } = met
  const back = {
    source: destination,
    destination: source,
    sport: dport,
    dport: sport,
    in: met.out,
    out: met.in,
  }
  return { ...met, ...back, isAnswer: true }
}

/** What a policy of FORWARD that is DROP does to a packet or its answer, behind rules of others; undefined: nothing. */
export function droppedByPolicy(
  facts: NodeFacts,
  backend: Backend,
  flow: Flow,
): 'drop' | 'unknown' | undefined {
  const { family } = flow
  if (forwardPolicy(facts, backend, family) !== 'DROP') return undefined
  const saved = savedFilters(facts.tables[backend][family], family, backend)
  const chains = saved
    .filter(({ table }) => table === 'filter')
    .map((chain) => ({ ...chain, policy: 'drop' as const }))
  const verdicts = [flow, answerTo(flow)].flatMap((one) =>
    judge({ chains, sets: new Map() }, FORWARD, one).map(({ verdict }) => verdict),
  )
  if (verdicts.includes('drop')) return 'drop'
  return verdicts.includes('unknown') ? 'unknown' : undefined
}

/** The rules that are nobody's but the node's: native tables, and those of both backends. */
function filtersOf(
  { tables, nftables, backend }: Pick<NodeFacts, 'tables' | 'nftables' | 'backend'>,
  family: Flow['family'],
  isAccepted: boolean,
): Nftables {
  const saved = BACKENDS.flatMap((one) =>
    savedFilters(tables[one][family], family, one).filter(
      ({ table, hook }) => !(isAccepted && one === backend && table === 'filter' && hook === 'forward'),
    ),
  )
  const native = nativeFilters(nftables)
  return { ...native, chains: [...saved, ...native.chains] }
}

/** Without the firewall of Proxmox VE, which is judged by its files. */
function nativeFilters(nftables: Nftables): Nftables {
  return { ...nftables, chains: nftables.chains.filter(({ table }) => table !== DAEMON) }
}

function refuse({ verdict, place, chain }: Judged, met: Met, trail: Trail): void {
  if (verdict === 'untracked') return
  const what = met.isAnswer ? 'the answer' : 'it'
  if (verdict === 'drop')
    trail.stop(`A rule that is not pvenat's drops ${what}.`, [place], letPass(chain, met))
  const may = verdict === 'may untrack' ? `keep ${what} from connection tracking` : `drop ${what}`
  trail.doubt(`A rule that is not pvenat's may ${may}; explain cannot read all of it.`, place)
}

/** FORWARD rules and policy_forward of proxmox-firewall. The rules that it has loaded count; its files say how to change them. */
function checkDaemon({ view, facts }: World, flow: Flow, judged: readonly Judged[], trail: Trail): void {
  const { family, proto, source, destination, dport } = flow
  const clients = { ranges: [source] }
  const refused = notForwarded(view, { family, proto, clients, destination, dport })
  const loaded = judged.find(({ chain }) => chain.table === DAEMON)
  if (loaded?.verdict === 'drop') {
    const by = refused?.by ?? 'a rule that it has loaded and its files do not have'
    return trail.stop(
      `The nftables firewall does not forward it: ${by}.`,
      [refused?.restsOn ?? '', loaded.place].filter((one) => one !== ''),
      {
        commands: [refused?.command ?? `systemctl restart ${DAEMON}`],
      },
    )
  }
  if (loaded)
    return trail.doubt(
      'The nftables firewall may not forward it; explain cannot read all of its rules.',
      loaded.place,
    )
  if (!refused) return
  const isLoaded = facts.nftables.chains.some(({ table }) => table === DAEMON)
  trail.doubt(
    `By its files the nftables firewall does not forward it (${refused.by}), but ${isLoaded ? 'the rules that it has loaded let it pass' : 'it has no table in the kernel'}.`,
    refused.restsOn,
    `systemctl status ${DAEMON}`,
  )
}

/** A rule of others that translates the destination of a packet, or may: before `isOurs` was asked, or at all. */
export function takenByOthers({ facts }: World, flow: Flow, isOurs: boolean): string | undefined {
  const hook = flow.in === undefined ? 'output' : 'prerouting'
  const native = judge(facts.nftables, { hook, type: 'nat' }, flow).find(
    ({ verdict, chain }) => verdict.endsWith('nat') && (!isOurs || chain.priority <= DSTNAT), // of two with the same priority the younger one runs first
  )
  if (native) return native.place
  const { family, destination, proto, dport } = flow
  const port = dport === undefined ? undefined : ([[dport, dport]] as const)
  const saved = foreignNat(facts).find(
    (rule) =>
      rule.kind === 'destination' &&
      !rule.isNative &&
      rule.family === family &&
      !(isOurs && rule.backend === facts.backend) &&
      mayConcern(rule, { destination: [destination], proto, ports: port }),
  )
  return saved && foreignPlace(saved)
}

/** A rule of nft itself that translates the source of a packet, or may, before ours are asked. */
export function sourceTakenByOthers({ facts }: World, flow: Flow): string | undefined {
  return judge(facts.nftables, { hook: 'postrouting', type: 'nat' }, flow).find(
    ({ verdict, chain }) => verdict.endsWith('nat') && chain.priority <= SRCNAT,
  )?.place
}

/** Stops a packet that is to be translated and is kept from connection tracking. */
export function requireTracked({ untracked }: Pick<Flow, 'untracked'>, trail: Trail, what = 'it'): void {
  if (untracked === undefined) return
  trail.stop(
    `Nothing translates ${what}: a rule that is not pvenat's keeps it from connection tracking.`,
    [untracked],
    { commands: [], instead: 'change that rule so that it leaves out what is translated' },
  )
}
