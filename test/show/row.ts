/** A row of `list` as a plain forward has it, but for what a test is about. */
import type { Row } from '../../src/show/list.ts'

export function row(part: Partial<Row> = {}): Row {
  return {
    id: '108-x',
    kind: 'forward',
    state: 'active',
    reason: '',
    guest: { vmid: 108, name: 'shop' },
    proto: ['tcp'],
    external: { addresses: 'any', ports: [[8080, 8080]], interface: null },
    inner: { address: '10.10.10.108', ports: [[80, 80]] },
    source: '',
    family: [4],
    packets: 0,
    bytes: 0,
    given: false,
    uplinks: [],
    file: '/etc/pve/firewall/108.fw',
    line: 7,
    comment: 'NAT 8080',
    ...part,
  }
}
