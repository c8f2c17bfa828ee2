import { createHash } from 'node:crypto'
import type { BridgePlan, GuestPlan, InetPlan, UplinkPlan } from './plan.ts'

/** Lines of `ip` for the internet's own interfaces. */
export function inetLines(plan: InetPlan): string[] {
  const segments = Object.entries(plan.segments).flatMap(([name, addresses]) =>
    bridgeLines('inet', { name, addresses }),
  )
  return [...segments, ...plan.others.map((address) => addressLine(address, 'lo'))]
}

/** Lines for a bridge. Its MAC is fixed: else it changes with each guest that comes, and neighbours lose it. */
export function bridgeLines(node: string, { name, addresses }: BridgePlan): string[] {
  const hash = createHash('sha256').update(`${node} ${name}`).digest('hex')
  const mac = `02:${(hash.slice(0, 10).match(/../g) ?? []).join(':')}`
  return [
    `link add ${name} address ${mac} type bridge stp_state 0 forward_delay 0`,
    ...addresses.map((address) => addressLine(address, name)),
    `link set ${name} up`,
  ]
}

/** Lines on the node for an uplink whose other end, `port`, is put into the namespace of process `inetPid`. */
export function uplinkLines(uplink: UplinkPlan, port: string, inetPid: number): string[] {
  const { name, bridge, addresses = [] } = uplink
  return [
    `link add ${name} type veth peer name ${port} netns ${inetPid}`,
    ...(bridge === undefined ? [] : [`link set ${name} master ${bridge}`]),
    ...addresses.map((address) => addressLine(address, name)),
    `link set ${name} up`,
  ]
}

/** The interfaces that Proxmox VE makes for a guest's NIC, the one next to the guest first. */
export function plumbing({ vmid, nic = 0, kind, firewall }: GuestPlan): [string, ...string[]] {
  const suffix = `${vmid}i${nic}`
  const first = `${kind === 'qemu' ? 'tap' : 'veth'}${suffix}`
  return firewall ? [first, `fwbr${suffix}`, `fwln${suffix}`, `fwpr${vmid}p${nic}`] : [first]
}

/** Lines on the node that plug a guest in; the guest's end goes into the namespace of process `guestPid`. */
export function plugLines(guest: GuestPlan, guestPid: number): string[] {
  const [first, fwbr, fwln, fwpr] = plumbing(guest)
  const peer = `name eth${guest.nic ?? 0} address ${guest.mac} netns ${guestPid}`
  const add = `link add ${first} type veth peer ${peer}`
  if (fwbr === undefined) return [add, `link set ${first} master ${guest.bridge} up`]
  return [
    add,
    `link add ${fwbr} type bridge stp_state 0 forward_delay 0`,
    `link add ${fwln} type veth peer name ${fwpr}`,
    `link set ${fwbr} up`,
    `link set ${first} master ${fwbr} up`,
    `link set ${fwln} master ${fwbr} up`,
    `link set ${fwpr} master ${guest.bridge} up`,
  ]
}

/** Lines inside a guest. */
export function guestLines({ nic = 0, address, gateway, address6, gateway6 }: GuestPlan): string[] {
  const device = `eth${nic}`
  const addresses = [address, address6].filter((one) => one !== undefined)
  const gateways = [gateway, gateway6].filter((one) => one !== undefined)
  return [
    `link set ${device} up`,
    ...addresses.map((one) => addressLine(one, device)),
    ...gateways.map((one) => `route add default via ${one} dev ${device}`),
  ]
}

function addressLine(address: string, device: string): string {
  return `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`
}
