/** Rules that go beyond what they may where guests have blocks of ports, by the diagnostic that they bring about. */
import { FW_107, FW_108, HOST, IN, SETTINGS, TO_105, type Typed } from './mistyped.ts'

const UDP = (dport: number): string => `IN ACCEPT -p udp -dport ${dport} # NAT auto`
const HTTP_AUTO = 'IN ACCEPT -p tcp -dport 80 # NAT auto'

export const BOUNDS: Record<string, Typed> = {
  'firewall-off': {
    file: HOST,
    wrong: TO_105('NAT 3050'),
    says: /switch it on in .*enable: 1 in host\.fw/,
    right: TO_105('NAT 3050'),
    also: [HOST, 'enable: 0', 'enable: 1'],
  },
  'block-taken': {
    file: FW_107,
    wrong: IN('NAT 20008'),
    says: /section \[guest 107\]: block = \d+$/,
    right: IN('NAT 20008'),
    also: [SETTINGS, 'block = 5', 'block = 2'],
    after: { server: '107' },
  },
  'block-unknown': {
    file: FW_108,
    wrong: IN('NAT 20004'),
    says: /section \[guest 108\]: block = 1$/,
    right: IN('NAT 20004'),
    also: [SETTINGS, 'block = 900', 'block = 1'],
    after: { server: '108' },
  },
  // The block of guest 105 is 20020-20023.
  'auto-has': {
    wrong: `${IN('NAT 20020')}\n${HTTP_AUTO}`,
    says: /^pick a free port: NAT 20021$/,
    right: `${IN('NAT 20021')}\n${HTTP_AUTO}`,
    ask: { to: '203.0.113.2:20021' },
    after: { server: '105', port: 22 },
  },
  'block-full': {
    wrong: [44, 43, 42, 41, 40].map(UDP).join('\n'),
    says: /delete a line that has a port of it/,
    right: [44, 43, 42, 41].map(UDP).join('\n'),
    ask: { to: '203.0.113.2:20020/udp' },
    before: { server: '105', port: 40 },
    after: { server: '105', port: 44 },
  },
}
