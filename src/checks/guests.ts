/** Guests whose configuration, or whose state on the wire, keeps NAT from reaching them. */
import { contains, FAMILIES, formatRange, sameRange, type Range } from '../address.ts'
import { firewallBridge, linkOf, tapName, type Neighbour } from '../facts/node-facts.ts'
import { configEdit } from '../facts/fixes.ts'
import { label, type Guest, type Nic, type Plugged } from '../guest/guest.ts'
import type { Check, Finding, Patient } from './finding.ts'

export function plugged({ view }: Patient): Plugged[] {
  return view.guests.flatMap((owned) => owned.guest.nics.map((nic) => ({ ...owned, nic })))
}

export function configOf({ guest, nic }: Pick<Plugged, 'guest' | 'nic'>): string {
  return `config of guest ${guest.vmid} (net${nic.index})`
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

export const strangerAnswers: Check = (patient) =>
  plugged(patient).flatMap((plug) =>
    FAMILIES.flatMap((family) => {
      const known = patient.view.known.get(plug.guest.vmid)?.nics.get(plug.nic.index)?.[family]?.ip
      const entry = patient.facts.neighbours.find(
        ({ ip, mac }) => known && mac !== '' && sameRange(ip, known),
      )
      return (entry && stranger(plug, entry)) ?? []
    }),
  )

/** Somebody else answers for a guest's address; `entry`: of the neighbour table, for that address. */
export function stranger(plug: Plugged, { dev, ip, mac, states }: Neighbour): Finding | undefined {
  const { guest, nic } = plug
  if (mac === '' || nic.mac === undefined || nic.mac === mac) return undefined
  const address = formatRange(ip)
  return {
    id: 'stranger-answers',
    severity: 'error',
    finding: `Frames for ${address} go to ${mac}, but guest ${label(guest)} is ${nic.mac}.`,
    restsOn: [`ip neigh show ${address} dev ${dev}: ${states.join()}`, configOf(plug)],
    fix: [`ip neigh del ${address} dev ${dev}`],
    why: 'What is forwarded to the guest reaches somebody else; if it comes back, find out who has that MAC.',
  }
}

export const firewallNotPlugged: Check = (patient) =>
  patient.view.firewall === 'iptables'
    ? plugged(patient).flatMap((plug) => notPlugged(patient, plug) ?? [])
    : undefined

/** firewall=1 that is in the config, but not yet on the wire. */
export function notPlugged(
  { facts, configs }: Pick<Patient, 'facts' | 'configs'>,
  plug: Plugged,
): Finding | undefined {
  const { guest, nic } = plug
  const [tap, bridge] = [tapName(guest, nic), firewallBridge(guest, nic)]
  if (!nic.firewall || !linkOf(facts, tap) || linkOf(facts, bridge)) return undefined
  const config = configs.get(guest.vmid) ?? ''
  return {
    id: 'firewall-not-plugged',
    severity: 'warning',
    finding: `net${nic.index} of guest ${label(guest)} has firewall=1 in its config, but not on the wire.`,
    restsOn: [configOf(plug), `${tap} is there, ${bridge} is not`],
    // A change of the flag plugs the NIC anew while the guest runs.
    fix: ['0', '1'].map((flag) => configEdit(guest, nic, config, 'firewall', flag)),
    why: 'Its firewall rules are not met until it is plugged anew: what you forward is let in, whatever they say.',
  }
}
