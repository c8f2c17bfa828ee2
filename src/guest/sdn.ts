/**
 * The ipsets that SDN provides to firewall rules (scope `sdn/`): for each VNet `NAME-all`, `-gateway`, `-no-gateway` and `-dhcp`, and
 * `guest-ipam-VMID` for each guest that the IPAM knows (proxmox-ve-config sdn/config.rs).
 */
import { formatRange, parseCidr, parseIp, parseRange, toNetworks, type Range } from '../address.ts'
import type { FwSet, FwSetEntry } from '../fw/fw-file.ts'
import { field, members, parseJson, textOf } from '../json.ts'
import { parseProps } from './config.ts'
import { parseIpam } from './sightings.ts'

/** Sets by name, from sdn/.running-config and the IPAM's state; none from what is missing or cannot be understood. */
export function sdnSets(runningConfig: string | undefined, ipam: string | undefined): Map<string, FwSet> {
  const sets = new Map<string, FwSet>()
  for (const [id, subnet] of members(field(field(parseJson(runningConfig ?? ''), 'subnets'), 'ids'))) {
    const vnet = textOf(field(subnet, 'vnet'))
    // `ZONE-10.10.10.0-24`
    const network = parseCidr(/^[^-]+-(.+)-(\d+)$/.exec(id)?.slice(1).join('/') ?? '')
    if (vnet === '' || !network) continue
    const gateway = parseIp(textOf(field(subnet, 'gateway')))
    const gateways = gateway ? [gateway] : []
    add(sets, `${vnet}-all`, [network])
    add(sets, `${vnet}-gateway`, gateways)
    add(sets, `${vnet}-no-gateway`, [network])
    add(sets, `${vnet}-no-gateway`, gateways, 1)
    add(sets, `${vnet}-dhcp`, dhcpRanges(field(subnet, 'dhcp-range')))
  }
  for (const { vmid, ip } of parseIpam(ipam ?? ''))
    if (vmid !== undefined) add(sets, `guest-ipam-${vmid}`, [ip])
  return sets
}

/** `start-address=10.10.10.100,end-address=10.10.10.200`, as text or in a list. */
function dhcpRanges(value: unknown): Range[] {
  return (Array.isArray(value) ? value : [value]).flatMap((item: unknown) => {
    const props = parseProps(textOf(item))
    const range = parseRange(`${props.get('start-address')}-${props.get('end-address')}`)
    return range ? toNetworks(range) : []
  })
}

function add(sets: Map<string, FwSet>, name: string, ranges: readonly Range[], nomatch?: 1): void {
  const set = sets.get(name) ?? { entries: [] }
  sets.set(name, set)
  set.entries.push(
    ...ranges.map((range): FwSetEntry => {
      const entry = { cidr: formatRange(range), span: { line: 0, from: 0, to: 0 } }
      return nomatch ? { ...entry, nomatch } : entry
    }),
  )
}
