/** Guests whose configuration, or whose state on the wire, keeps NAT from reaching them. */
import { contains, FAMILIES, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { placeName } from '../diagnostic.ts'
import { firewallBridge, linkOf, tapName } from '../facts/node-facts.ts'
import { configEdit, gatewayCommand, quoted, ruleApi, withOption } from '../facts/fixes.ts'
import { gatewayOf, type Guest, type Nic, label } from '../guest/guest.ts'
import type { NatRule } from '../nat/nat-rule.ts'
import { snatNeeds } from '../nat/policy.ts'
import { holds, isLetOut } from '../nat/sources.ts'
import type { Check, Finding, Patient } from './finding.ts'

interface Plugged {
  guest: Guest
  nic: Nic
}

function plugged({ view }: Patient): Plugged[] {
  return view.guests.flatMap(({ guest }) => guest.nics.map((nic) => ({ guest, nic })))
}

function configOf({ guest, nic }: Plugged): string {
  return `config of guest ${guest.vmid} (net${nic.index})`
}

/** The active rules that send something to an address and do not hide the client, or take something from it. */
function natOf({ translation }: Patient, address: Range): NatRule | undefined {
  return translation.rules.find(
    ({ state, forwards, egresses }) =>
      state === 'active' &&
      (forwards.some(({ inner, snat }) => !snat && sameRange(inner, address)) ||
        egresses.some(({ source, exempt }) => !exempt && holds(source, address))),
  )
}

export const gatewayElsewhere: Check = (patient) =>
  plugged(patient).flatMap((plug) =>
    FAMILIES.flatMap((family) => gatewayFinding(patient, plug, family) ?? []),
  )

function gatewayFinding(patient: Patient, plug: Plugged, family: Family): Finding | undefined {
  const { facts, view, configs } = patient
  const { guest, nic } = plug
  const way = gatewayOf(guest, nic, family)
  const own = nic.addresses[family]?.ip
  if (!way || !own || facts.addresses.some(({ ip }) => sameRange(ip, way.gateway))) return undefined
  const isOther = way.nic !== nic
  const inner = view.network.internal.find(({ network }) => contains(network, own))?.address
  const rule = natOf(patient, own)
  if (!inner || !rule) return undefined
  const goesOut = isLetOut(patient.translation.rules, own)
  const needs = shownClients(patient, own)
    .map(({ scope }) => snatNeeds(scope, view))
    .find((one) => one !== undefined)
  const granted = needs === undefined ? '' : ` (with ${needs} in pvenat.conf)`
  return {
    id: 'guest-gateway',
    severity: 'error',
    finding: `Guest ${label(guest)} sends what leaves its network${isOther ? ` by net${way.nic.index}` : ''} to ${formatRange(way.gateway)}, not to this node.`,
    restsOn: [
      `${configOf({ guest, nic: way.nic })}: ${formatRange(way.gateway)}`,
      `${formatRange(inner)} is this node's address there`,
      placeName(rule.place),
    ],
    // Without an OUT rule the other gateway is its only way out; a second one on another NIC would compete with it.
    fix:
      goesOut && !isOther
        ? [gatewayCommand(guest, nic, family, configs.get(guest.vmid) ?? '', inner)]
        : hideClients(patient, own),
    why: goesOut
      ? `Its answers are not translated back, and its own packets not at all; for forwards alone snat=1 in their comment helps, too${granted}.`
      : `Its answers are not translated back. With snat=1 it answers this node${granted}; or make this node its gateway, with an OUT rule that is marked NAT.`,
  }
}

/** The active rules with a forward to an address that shows it the clients. */
function shownClients({ translation }: Patient, address: Range): NatRule[] {
  return translation.rules.filter(
    ({ state, forwards }) =>
      state === 'active' && forwards.some(({ inner, snat }) => !snat && sameRange(inner, address)),
  )
}

/** Gives the forwards to an address snat=1, where they may have it. */
function hideClients(patient: Patient, address: Range): string[] {
  const { view } = patient
  return shownClients(patient, address)
    .filter(({ scope }) => snatNeeds(scope, view) === undefined)
    .flatMap(({ place, comment }) => {
      const api = ruleApi(view, place.file, place.span.line)
      return api === undefined ? [] : [`pvesh set ${api} --comment ${quoted(withOption(comment, 'snat=1'))}`]
    })
}

export const addressTwice: Check = (patient) => {
  const holders = plugged(patient).flatMap((plug) =>
    FAMILIES.flatMap((family) => {
      const own = plug.nic.addresses[family]
      return own ? [{ ...plug, family, ...own }] : []
    }),
  )
  return holders.flatMap((one, at): Finding[] => {
    const first = holders
      .slice(0, at)
      .find((before) => sameRange(before.ip, one.ip) && before.nic.bridge === one.nic.bridge)
    if (!first) return []
    const free = freeAddress(patient, one.ip)
    const key = one.family === 4 ? 'ip' : 'ip6'
    const config = patient.configs.get(one.guest.vmid) ?? ''
    return [
      {
        id: 'address-twice',
        severity: 'error',
        finding: `Guests ${label(first.guest)} and ${label(one.guest)} both have ${formatRange(one.ip)} in their config.`,
        restsOn: [first, one].map(configOf),
        fix: free ? [configEdit(one.guest, one.nic, config, key, `${formatRange(free)}/${one.prefix}`)] : [],
        why: 'Packets for that address reach now the one and now the other.',
      },
    ]
  })
}

/** An address beside another one that nothing on this node is known to have. */
function freeAddress({ view, facts }: Patient, taken: Range): Range | undefined {
  const network = view.network.internal.find((one) => contains(one.network, taken))?.network
  if (!network) return undefined
  const used = new Set([
    ...[...view.known.values()].flatMap(({ seen }) => seen.map(({ lo }) => lo)),
    ...facts.addresses.map(({ ip }) => ip.lo),
    ...facts.neighbours.map(({ ip }) => ip.lo),
  ])
  for (let lo = network.hi - 1n; lo > network.lo; lo--)
    if (!used.has(lo)) return { family: taken.family, lo, hi: lo }
  return undefined
}

export const macTwice: Check = (patient) => {
  const all = plugged(patient).filter(({ nic }) => nic.mac !== undefined)
  return all.flatMap((one, at): Finding[] => {
    const { guest, nic } = one
    const first = all.slice(0, at).find((two) => two.nic.mac === nic.mac && two.nic.bridge === nic.bridge)
    if (!first) return []
    const mac = `BC:24:11:${[guest.vmid >> 8, guest.vmid & 255, nic.index + 1].map(hex).join(':')}`
    const config = patient.configs.get(guest.vmid) ?? ''
    return [
      {
        id: 'mac-twice',
        severity: 'error',
        finding: `Guests ${label(first.guest)} and ${label(guest)} have the same MAC ${nic.mac} on ${nic.bridge ?? 'one bridge'}.`,
        restsOn: [first, one].map(configOf),
        fix: [macCommand(guest, nic, config, mac)],
        why: 'The bridge sends their packets now to the one and now to the other.',
      },
    ]
  })
}

/** A VM keeps its MAC behind its model: `virtio=MAC`. */
function macCommand(guest: Guest, nic: Nic, config: string, mac: string): string {
  const old = new RegExp(nic.mac ?? '', 'i')
  const own = `net${nic.index}: `
  const edit = (line: string): string => (line.startsWith(own) ? line.replace(old, mac) : line)
  return configEdit(guest, nic, config.split('\n').map(edit).join('\n'))
}

function hex(byte: number): string {
  return (byte & 255).toString(16).padStart(2, '0').toUpperCase()
}

/** Who answers for a guest's address is not the guest. */
export const strangerAnswers: Check = (patient) =>
  plugged(patient).flatMap(({ guest, nic }) =>
    FAMILIES.flatMap((family): Finding[] => {
      const known = patient.view.known.get(guest.vmid)?.nics.get(nic.index)?.[family]?.ip
      const entry = patient.facts.neighbours.find(
        ({ ip, mac }) => known && mac !== '' && sameRange(ip, known),
      )
      if (!known || !entry || nic.mac === undefined || entry.mac === nic.mac) return []
      return [
        {
          id: 'stranger-answers',
          severity: 'error',
          finding: `Frames for ${formatRange(known)} go to ${entry.mac}, but guest ${label(guest)} is ${nic.mac}.`,
          restsOn: [
            `ip neigh show ${formatRange(known)} dev ${entry.dev}: ${entry.states.join()}`,
            configOf({ guest, nic }),
          ],
          fix: [`ip neigh del ${formatRange(known)} dev ${entry.dev}`],
          why: 'What is forwarded to the guest reaches somebody else; if it comes back, find out who has that MAC.',
        },
      ]
    }),
  )

/** firewall=1 that is in the config, but not yet on the wire. */
export const firewallNotPlugged: Check = (patient) => {
  const { facts, view } = patient
  if (view.firewall !== 'iptables') return undefined
  return plugged(patient).flatMap(({ guest, nic }): Finding[] => {
    const [tap, bridge] = [tapName(guest, nic), firewallBridge(guest, nic)]
    if (!nic.firewall || !linkOf(facts, tap) || linkOf(facts, bridge)) return []
    return [
      {
        id: 'firewall-not-plugged',
        severity: 'warning',
        finding: `net${nic.index} of guest ${label(guest)} has firewall=1 in its config, but not on the wire.`,
        restsOn: [configOf({ guest, nic }), `${tap} is there, ${bridge} is not`],
        // A change of the flag plugs the NIC anew while the guest runs.
        fix: ['0', '1'].map((flag) =>
          configEdit(guest, nic, patient.configs.get(guest.vmid) ?? '', 'firewall', flag),
        ),
        why: 'Its firewall rules are not met until it is plugged anew: what you forward is let in, whatever they say.',
      },
    ]
  })
}
