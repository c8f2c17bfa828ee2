/** Guests whose configuration, or whose state on the wire, keeps NAT from reaching them. */
import { FAMILIES, formatRange, sameRange, type Family, type Range } from '../address.ts'
import { configEdit, gatewayCommand } from '../fixes.ts'
import type { Guest, Nic } from '../guest/model.ts'
import type { NatRule } from '../nat/model.ts'
import type { Check, Finding, Patient } from './finding.ts'

interface Plugged {
  guest: Guest
  nic: Nic
}

function plugged({ view }: Patient): Plugged[] {
  return view.guests.flatMap(({ guest }) => guest.nics.map((nic) => ({ guest, nic })))
}

/** The active rules that send something to an address and do not hide the client, or take something from it. */
function natOf({ translation }: Patient, address: Range): NatRule | undefined {
  return translation.rules.find(
    ({ state, forwards, egresses }) =>
      state === 'active' &&
      (forwards.some(({ inner, snat }) => !snat && sameRange(inner, address)) ||
        egresses.some(({ source, exempt }) => !exempt && covers(source.ranges, address))),
  )
}

function covers(ranges: Range[] | 'any', address: Range): boolean {
  return (
    ranges === 'any' ||
    ranges.some(({ family, lo, hi }) => family === address.family && lo <= address.lo && address.lo <= hi)
  )
}

export const gatewayElsewhere: Check = (patient) =>
  plugged(patient).flatMap((plug) => FAMILIES.flatMap((family) => gatewayFinding(patient, plug, family)))

function gatewayFinding(patient: Patient, { guest, nic }: Plugged, family: Family): Finding[] {
  const { facts, view, configs } = patient
  const gateway = nic.gateways[family]
  const own = nic.addresses[family]?.ip
  if (!gateway || !own || facts.addresses.some(({ ip }) => sameRange(ip, gateway))) return []
  const inner = view.network.internal.find(({ network }) => covers([network], own))?.address
  const rule = natOf(patient, own)
  if (!inner || !rule) return []
  const place = `${rule.place.file.replace(/^.*\//, '')}:${rule.place.span.line}`
  return [
    {
      ...{ id: 'guest-gateway', severity: 'error' },
      finding: `Guest ${label(guest)} sends what leaves its network to ${formatRange(gateway)}, not to this node.`,
      restsOn: [
        `config of guest ${guest.vmid} (net${nic.index}): ${formatRange(gateway)}`,
        `${formatRange(inner)} is this node's address there`,
        place,
      ],
      fix: [gatewayCommand(guest, nic, family, configs.get(guest.vmid) ?? '', inner)],
      why: 'Its answers are not translated back, and its own packets not at all; for forwards alone snat=1 in their comment helps, too.',
    },
  ]
}

export const addressTwice: Check = (patient) => {
  const holders = plugged(patient).flatMap(({ guest, nic }) =>
    FAMILIES.flatMap((family) => {
      const own = nic.addresses[family]
      return own ? [{ guest, nic, family, ...own }] : []
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
        ...{ id: 'address-twice', severity: 'error' },
        finding: `Guests ${label(first.guest)} and ${label(one.guest)} both have ${formatRange(one.ip)} in their config.`,
        restsOn: [first, one].map(({ guest, nic }) => `config of guest ${guest.vmid} (net${nic.index})`),
        fix: free ? [configEdit(one.guest, one.nic, config, key, `${formatRange(free)}/${one.prefix}`)] : [],
        why: 'Packets for that address reach now the one and now the other.',
      },
    ]
  })
}

/** An address beside another one that nothing on this node is known to have. */
function freeAddress({ view, facts }: Patient, taken: Range): Range | undefined {
  const network = view.network.internal.find((one) => covers([one.network], taken))?.network
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
  return all.flatMap(({ guest, nic }, at): Finding[] => {
    const first = all.slice(0, at).find((one) => one.nic.mac === nic.mac && one.nic.bridge === nic.bridge)
    if (!first) return []
    const mac = `BC:24:11:${[guest.vmid >> 8, guest.vmid & 255, nic.index + 1].map(hex).join(':')}`
    const config = patient.configs.get(guest.vmid) ?? ''
    return [
      {
        ...{ id: 'mac-twice', severity: 'error' },
        finding: `Guests ${label(first.guest)} and ${label(guest)} have the same MAC ${nic.mac} on ${nic.bridge ?? 'one bridge'}.`,
        restsOn: [first, { guest, nic }].map(
          (one) => `config of guest ${one.guest.vmid} (net${one.nic.index})`,
        ),
        fix: [macCommand(guest, nic, config, mac)],
        why: 'The bridge sends their packets now to the one and now to the other.',
      },
    ]
  })
}

/** A VM keeps its MAC behind its model: `virtio=MAC`. */
function macCommand(guest: Guest, nic: Nic, config: string, mac: string): string {
  const old = nic.mac ?? ''
  const edited = config.replace(new RegExp(`^(net${nic.index}: .*?)${old}`, 'im'), `$1${mac}`)
  return configEdit(guest, nic, edited)
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
          ...{ id: 'stranger-answers', severity: 'error' },
          finding: `Frames for ${formatRange(known)} go to ${entry.mac}, but guest ${label(guest)} is ${nic.mac}.`,
          restsOn: [
            `ip neigh show ${formatRange(known)} dev ${entry.dev}: ${entry.states.join()}`,
            `config of guest ${guest.vmid} (net${nic.index})`,
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
  if (view.firewall !== 'iptables') return []
  return plugged(patient).flatMap(({ guest, nic }): Finding[] => {
    const tap = `${guest.type === 'qemu' ? 'tap' : 'veth'}${guest.vmid}i${nic.index}`
    const [runs, fwbr] = [tap, `fwbr${guest.vmid}i${nic.index}`].map((name) =>
      facts.links.some((link) => link.name === name),
    )
    if (!nic.firewall || !runs || fwbr) return []
    return [
      {
        ...{ id: 'firewall-not-plugged', severity: 'warning' },
        finding: `net${nic.index} of guest ${label(guest)} has firewall=1 in its config, but not on the wire.`,
        restsOn: [
          `config of guest ${guest.vmid} (net${nic.index})`,
          `${tap} is there, fwbr${guest.vmid}i${nic.index} is not`,
        ],
        fix: [`${guest.type === 'qemu' ? 'qm' : 'pct'} reboot ${guest.vmid}`],
        why: 'Its firewall rules are not met until it is plugged anew: what you forward is let in, whatever they say.',
      },
    ]
  })
}

function label({ vmid, name }: Guest): string {
  return `${vmid} (${name})`
}
