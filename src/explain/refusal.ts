/** Why nothing translates a packet: the rule that looks as if it should, and what keeps it from doing so. */
import { formatRange as show, sameRange } from '../address.ts'
import { switchOn } from '../checks/surroundings.ts'
import { word } from '../diagnostic.ts'
import { guestApi, REQUIRE_NO_FIREWALL, ruleAt } from '../facts/fixes.ts'
import { sources } from '../nat/marked.ts'
import type { NatRule, Scope } from '../nat/nat-rule.ts'
import { holds } from '../nat/sources.ts'
import { templates } from '../nat/template.ts'
import type { PortRange } from '../ports.ts'
import type { Pass } from './pass.ts'
import { endpoint, inPorts, type Packet } from './packet.ts'
import type { Fix, Trail } from './step.ts'
import { apiOf, asTyped, guestName, isExternal, placeOf, type Sender, type World } from './world.ts'

/** A reason, and how good it is: a lower rank is nearer to what was wanted. */
interface Refusal {
  rank: number
  sentence: string
  restsOn: string[]
  fix?: Fix
}

/**
 * Stops the way at the rule that names the port and does not forward it; goes on when none does. While a service of the node
 * is `served` there, only says so: the packet does arrive somewhere.
 */
export function whyNoForward(world: World, { packet, sender, flow, trail }: Pass, served: boolean): void {
  const reasons = world.translation.rules.flatMap((rule) => refusalOf(world, rule, packet, sender) ?? [])
  const [best] = reasons.sort((a, b) => a.rank - b.rank)
  if (best) {
    if (served) return trail.note(best.sentence, ...best.restsOn)
    trail.stop(best.sentence, best.restsOn, best.fix)
  }
  const at = endpoint(flow.destination, flow.dport)
  trail.note(`No rule that is marked NAT claims ${at}/${flow.proto}.`, 'pvenat list')
}

/** Rules that ask for the same port and got nothing of it. */
export function noteBeaten(world: World, packet: Packet, winner: NatRule, trail: Trail): void {
  for (const rule of world.translation.rules) {
    if (rule === winner || rule.state !== 'conflict' || !asksFor(world, rule, packet)) continue
    trail.note(`${placeOf(rule)} asks for it, too, and is beaten: ${rule.reason}.`, asTyped(rule))
  }
}

function refusalOf(world: World, rule: NatRule, packet: Packet, sender: Sender): Refusal | undefined {
  if (rule.kind !== 'forward' && rule.kind !== 'exempt') return undefined
  const at = placeOf(rule)
  const what = `${packet.dport === undefined ? '' : `port ${packet.dport}/`}${packet.proto}`
  if (!asksFor(world, rule, packet)) return otherProtocol(rule, packet)
  const forwards = rule.forwards.filter((one) => one.family === packet.family && hasPort(one, packet))
  if (rule.state !== 'active')
    return {
      rank: 1,
      sentence: `${at} asks for ${what}, but it is ${STATE_WORDS[rule.state]}: ${rule.reason}.`,
      restsOn: [asTyped(rule)],
      ...fixFor(world, rule),
    }
  if (rule.kind === 'exempt')
    return {
      rank: 2,
      sentence: `${at} says that ${what} is not forwarded.`,
      restsOn: [asTyped(rule)],
    }
  const open = forwards.filter((one) =>
    one.external.some((address) => sameRange(address, packet.destination)),
  )
  // A full=1 at one address asks for no port at the others.
  if (open.length === 0 && forwards.every(({ full }) => full)) return undefined
  if (open.length === 0) {
    const have = [...new Set(forwards.flatMap((one) => one.external.map(show)))].join(', ')
    return {
      rank: 4,
      sentence: `${at} forwards ${what} at ${have || 'no address of this family'} only.`,
      restsOn: [asTyped(rule)],
    }
  }
  const heard = open.filter((one) => holds(one.source, packet.source))
  if (heard.length === 0)
    return {
      rank: 2,
      sentence: `${at} forwards ${what} for ${rule.source} only, and ${show(packet.source)} is not in that.`,
      restsOn: [`${at}: source ${rule.source}`],
    }
  const { hairpin } = world.view.settings
  if (!isExternal(world, sender.in) && (hairpin === 'no' || heard.every((one) => !one.hairpin)))
    return {
      rank: 1,
      sentence: `${at} forwards ${what} for what comes from outside only.`,
      restsOn: hairpin === 'no' ? ['setting hairpin = no'] : [asTyped(rule)],
    }
  if (rule.reason !== '') return { rank: 3, sentence: `${at}: ${rule.reason}.`, restsOn: [at] }
  return undefined
}

function otherProtocol(rule: NatRule, packet: Packet): Refusal | undefined {
  const others = rule.forwards.filter(
    ({ ports }) => ports && packet.dport !== undefined && inPorts(ports, packet.dport),
  )
  if (rule.state !== 'active' || others.length === 0) return undefined
  const protos = [...new Set(others.map(({ proto }) => proto))].join(', ')
  const sentence = `${placeOf(rule)} forwards port ${packet.dport} for ${protos}, not for ${packet.proto}.`
  return { rank: 5, sentence, restsOn: [asTyped(rule)] }
}

const STATE_WORDS: Readonly<Record<NatRule['state'], string>> = {
  active: 'active',
  inactive: 'not in force',
  error: 'in error',
  conflict: 'beaten',
  quarantined: 'refused by the kernel',
}

/** Whether a rule is about the port, translated or not. */
function asksFor(world: World, rule: NatRule, packet: Packet): boolean {
  const forwards = rule.forwards.filter((one) => one.family === packet.family)
  if (forwards.length > 0) return forwards.some((one) => hasPort(one, packet))
  const text = ruleAt(world.view, rule.place.file, rule.place.span.line)?.rule
  if (!text || text.type !== 'in') return false
  const { address, ports } = rule.asked ?? {}
  if (address && !sameRange(address, packet.destination)) return false
  const rows = text.errors ? [] : templates(text, packet.family, world.view.services)
  if (rows.length > 0 && rows.every(({ proto }) => proto !== '' && proto !== packet.proto)) return false
  const external: readonly PortRange[] =
    ports ?? rows.flatMap(({ dports, sports }) => (sports.length > 0 ? sports : dports))
  return packet.dport !== undefined && external.some((range) => inPorts(range, packet.dport))
}

function hasPort(one: { proto: string; ports?: PortRange }, packet: Packet): boolean {
  if (one.proto === 'all') return true
  if (one.proto !== packet.proto) return false
  return !one.ports || (packet.dport !== undefined && inPorts(one.ports, packet.dport))
}

/** What to do about a rule that is not in force: its own switch, those above it, or what its diagnostic proposes. */
function fixFor(world: World, rule: NatRule): { fix?: Fix } {
  const { view, translation } = world
  const api = apiOf(world, rule)
  if (rule.state === 'inactive') {
    const own = ruleAt(view, rule.place.file, rule.place.span.line)?.rule
    const above = sources(view).find(({ scope, off }) => off !== '' && isSameScope(scope, rule.scope))
    const commands = above ? [REQUIRE_NO_FIREWALL] : []
    if (own?.enable === 0 && api !== undefined) commands.push(`pvesh set ${api} --enable 1`)
    const instead = above ? switchOn(above.help) : `tick On at ${placeOf(rule)}`
    return commands.length > 0 ? { fix: { commands, instead } } : {}
  }
  const { help } =
    translation.diagnostics.map((one) => word(one)).find(({ message }) => message === rule.reason) ?? {}
  return { fix: { commands: ['pvenat check'], ...(help === undefined ? {} : { instead: help }) } }
}

function isSameScope(one: Scope, other: Scope): boolean {
  return (
    one.kind === other.kind &&
    (one.kind !== 'guest' || (other.kind === 'guest' && one.guest.vmid === other.guest.vmid))
  )
}

/** A guest's packet on its way out that nothing translates. */
export function noEgress(world: World, { flow, trail, sender }: Pass, out: string): never {
  const { family, source } = flow
  const asleep = world.translation.rules.find(
    (rule) =>
      rule.kind === 'egress' &&
      rule.state !== 'active' &&
      rule.egresses.some(
        (one) => one.family === family && one.out.includes(out) && holds(one.source, source),
      ),
  )
  if (asleep)
    return trail.stop(
      `${placeOf(asleep)} would translate it, but it is ${STATE_WORDS[asleep.state]}: ${asleep.reason}.`,
      [asTyped(asleep)],
      fixFor(world, asleep).fix,
    )
  const { guest } = sender
  const api = guest && `${guestApi(world.view, guest.guest)}/rules`
  return trail.stop(
    `Nothing translates its source, so it would leave by ${out} as ${show(source)}, and no answer finds its way back to a private address.`,
    ['nat PVENAT-POSTROUTING', 'pvenat list'],
    {
      commands: api ? [`pvesh create ${api} --type out --action ACCEPT --comment NAT --enable 1`] : [],
      instead: `${guest ? guestName(guest) : 'Datacenter'} > Firewall > Add: direction out, action ACCEPT, comment NAT`,
    },
  )
}
