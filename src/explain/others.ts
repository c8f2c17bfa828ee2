/** What rules that are not pvenat's do to a packet on its way through the node: filters of nft and iptables, the nftables firewall, NAT. */
import { formatRange as show } from '../address.ts'
import { BACKENDS, type Backend } from '../facts/backend.ts'
import { forwardPolicy, type NodeFacts } from '../facts/node-facts.ts'
import { quoted } from '../facts/fixes.ts'
import { foreignNat, foreignPlace, mayConcern } from '../facts/foreign.ts'
import { keeperOf } from '../facts/keepers.ts'
import type { NftChain, Nftables } from '../facts/nftables.ts'
import { savedForward } from '../facts/saved-forward.ts'
import { judge, nameOf, type Judged } from './filters.ts'
import { notForwarded } from './pvefirewall.ts'
import type { Fix, Trail } from './step.ts'
import type { Flow } from './walk.ts'
import type { World } from './world.ts'

export const DAEMON = 'proxmox-firewall'

/** The filters that a routed packet meets, and its answer: in FORWARD of iptables up to our own accept, if that `isAccepted`. */
export function checkOthers(world: World, flow: Flow, isAccepted: boolean, trail: Trail): void {
  const { facts } = world
  const filters = filtersOf(facts, flow.family, isAccepted)
  const judged = judge(filters, FORWARD, flow)
  checkDaemon(world, flow, judged, trail)
  for (const one of judged.filter(({ chain }) => chain.table !== DAEMON)) refuse(one, flow, false, trail)
  for (const one of judge(filters, FORWARD, answerTo(flow))) refuse(one, flow, true, trail)
}

const FORWARD = { hook: 'forward', type: 'filter' }

function answerTo(flow: Flow): Parameters<typeof judge>[2] {
  const { source, destination, sport, dport } = flow
  const back = {
    source: destination,
    destination: source,
    sport: dport,
    dport: sport,
    in: flow.out,
    out: flow.in,
  }
  return { ...flow, ...back, isAnswer: true }
}

/** Whether the policy of FORWARD is DROP, and no rule of others lets a packet or its answer pass for sure or perhaps. */
export function isDroppedByPolicy(facts: NodeFacts, backend: Backend, flow: Flow): boolean {
  const { family } = flow
  if (forwardPolicy(facts, backend, family) !== 'DROP') return false
  const saved = savedForward(facts.tables[backend][family], family, backend)
  const chains = saved.map((chain) => ({ ...chain, policy: 'drop' as const }))
  return [flow, answerTo(flow)].some((one) =>
    judge({ chains, sets: new Map() }, FORWARD, one).some(({ verdict }) => verdict === 'drop'),
  )
}

/** The rules that are nobody's but the node's: native tables, and FORWARD of both backends. */
function filtersOf(
  { tables, nftables, backend }: Pick<NodeFacts, 'tables' | 'nftables' | 'backend'>,
  family: Flow['family'],
  isAccepted: boolean,
): Nftables {
  const saved = BACKENDS.filter((one) => !isAccepted || one !== backend).flatMap((one) =>
    savedForward(tables[one][family], family, one),
  )
  return { ...nftables, chains: [...saved, ...nftables.chains] }
}

function refuse({ verdict, place, chain }: Judged, flow: Flow, isAnswer: boolean, trail: Trail): void {
  const what = isAnswer ? 'the answer' : 'it'
  if (verdict !== 'drop')
    return trail.doubt(`A rule that is not pvenat's may drop ${what}; explain cannot read all of it.`, place)
  trail.stop(`A rule that is not pvenat's drops ${what}.`, [place], letPass(chain, flow, isAnswer))
}

type Passing = Pick<Flow, 'family' | 'proto' | 'source' | 'destination' | 'dport' | 'out' | 'dnat'>

/** Lets a packet, or answers, pass ahead of all rules of a base chain. */
export function letPass(
  chain: NftChain,
  { family, proto, source, destination, dport, out = '', dnat }: Passing,
  isAnswer: boolean,
): Fix {
  const keeper = keeperOf(nameOf(chain))
  const place = chain.rules[0]?.place
  const ip = family === 4 ? 'ip' : 'ip6'
  const port = dport === undefined ? '' : ` dport ${dport}`
  const commands =
    place === undefined
      ? `nft insert rule ${[chain.family, chain.table, chain.name].map(quoted).join(' ')} ${
          isAnswer
            ? 'ct state related,established'
            : dnat
              ? `${ip} daddr ${show(destination)} ${port === '' ? `meta l4proto ${proto}` : `${proto}${port}`}`
              : `${ip} saddr ${show(source)} oifname ${quoted(out)}`
        } accept`
      : `${place.split('-save')[0] ?? ''} -w -I FORWARD ${
          isAnswer
            ? '-m conntrack --ctstate RELATED,ESTABLISHED'
            : dnat
              ? `-d ${show(destination)} -p ${proto}${port === '' ? '' : ` --dport ${dport}`}`
              : `-s ${show(source)} -o ${quoted(out)}`
        } -j ACCEPT`
  const instead = keeper && `${keeper} made these rules and may put them back: allow it there`
  return { commands: [commands], ...(instead === undefined ? {} : { instead }) }
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

/** The priority of nat PREROUTING and OUTPUT of iptables. Of two hooks with the same priority the younger one runs first. */
const DSTNAT = -100

/** A rule of others that translates the destination of a packet, or may: before `isOurs` was asked, or at all. */
export function takenByOthers({ facts }: World, flow: Flow, isOurs: boolean): string | undefined {
  const hook = flow.in === undefined ? 'output' : 'prerouting'
  const native = judge(facts.nftables, { hook, type: 'nat' }, flow).find(
    ({ verdict, chain }) => verdict.endsWith('nat') && (!isOurs || chain.priority <= DSTNAT),
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
