/** Rules where guests have no blocks of ports and the administrator gives reserved ports away, by the diagnostic that they bring about. */
import { GUEST_LIMITS } from '../../src/nat/limits.ts'
import { CLUSTER, FW_107, IN, SETTINGS, type Typed } from './mistyped.ts'

/** So many rules, the first at port 6000. */
const rules = (count: number): string =>
  Array.from({ length: count }, (_, i) => IN(`NAT ${6000 + i}`)).join('\n')

const ALL_OF_IT = 'IN ACCEPT -dest 10.10.10.105 # NAT 203.0.113.2 full=1'

export const LIMITS: Record<string, Typed> = {
  limit: {
    wrong: rules(GUEST_LIMITS.rules + 1),
    says: /guest 105 \(plain\) has more than \d+ rules marked NAT; this rule and its rules before it are not in force$/,
    right: rules(GUEST_LIMITS.rules),
    ask: { to: '203.0.113.2:6000' },
  },
  // The block of guest 107 is then 20140-20159. At 203.0.113.2 the other rule holds all ports.
  'block-none': {
    file: FW_107,
    wrong: IN('NAT auto'),
    says: /an administrator gives each guest one in pvenat\.conf: guest-block = 20000-59999\/20$/,
    right: IN('NAT auto'),
    also: [SETTINGS, '[nat]\n', '[nat]\nguest-block = 20000-59999/20\n'],
    ask: { to: '203.0.113.7:20142' },
    after: { server: '107' },
  },
  'full-whole': {
    file: CLUSTER,
    wrong: ALL_OF_IT,
    says: /without allow-reserved = yes, .* the node keeps these$/,
    right: ALL_OF_IT,
    also: [SETTINGS, 'allow-reserved = yes\n', ''],
    ask: { to: '203.0.113.2:8006' },
    before: { server: '105' },
    after: { server: 'pve' },
  },
}
