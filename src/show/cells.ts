/** Texts of a row that `pvenat list`, the changes of a plan and the page have in common. */
import { formatPorts, type PortRange } from '../ports.ts'
import type { Row } from './list.ts'

export function guestCell({ guest }: Row): string {
  return guest ? `${guest.vmid} ${guest.name}` : '-'
}

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address)

/** `10.10.10.105, [fd10::105]:22` of a list of addresses; without ports it stays as it is. */
export function endpoint(addresses: string, ports: readonly PortRange[] | null): string {
  return ports ? `${addresses.split(', ').map(bracketed).join(', ')}:${formatPorts(ports)}` : addresses
}

/** Whether nothing is known of where it leads: its comment was not understood. */
function isBlank({ kind, external, inner }: Row): boolean {
  return kind === 'forward' && !external.ports && external.addresses === 'any' && inner.address === null
}

/** `203.0.113.7:443/tcp`, `:20105/tcp given` by NAT auto; of what goes out, the interface and address by which it leaves. */
export function externalCell(row: Row): string {
  const { kind, external, proto } = row
  if (isBlank(row)) return '-'
  const addresses = external.addresses === 'any' ? [] : external.addresses
  if (kind !== 'forward' && !external.ports)
    return [external.interface, addresses.join(',')].filter(Boolean).join(' ') || '-'
  const ports = external.ports ? formatPorts(external.ports) : '*'
  const given = row.given && external.ports ? ' given' : ''
  return `${addresses.map(bracketed).join(',')}:${ports}${proto.length > 0 ? '/' : ''}${proto.join('+')}${given}`
}

export function innerCell(row: Row): string {
  const { kind, inner, external } = row
  if (isBlank(row)) return '-'
  if (kind === 'forward') return endpoint(inner.address ?? '?', inner.ports)
  const egress = external.addresses === 'any' ? 'masquerade' : 'SNAT'
  return { egress, exempt: 'not translated', block: 'blocked' }[kind]
}

/** Three digits or so: `999`, `1.2k`, `34M`. */
export function amount(count: number, step: number): string {
  let rest = count
  const unit = ['', 'k', 'M', 'G', 'T'].find((_, i, units) => {
    if (rest < step || i === units.length - 1) return true
    rest /= step
    return false
  })
  return unit === '' ? String(count) : `${rest < 10 ? rest.toFixed(1) : Math.floor(rest)}${unit}`
}
