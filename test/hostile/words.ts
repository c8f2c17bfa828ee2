/** Words as somebody would type them who wants to break in. Bytes, as .fw files are read. */
import fc from 'fast-check'

/** Stands in user text of all sorts, in many cases; never in kernel input. */
export const MARKER = 'Zq7xWv'

/** UTF-8 as bytes, which is how .fw files are read. */
const bytes = (text: string) => Buffer.from(text, 'utf8').toString('latin1')

const syntax = fc.constantFrom(
  '-j ACCEPT',
  '-j DNAT --to-destination 8.8.8.8',
  'COMMIT',
  '*nat',
  ':INPUT ACCEPT [0:0]',
  '-A INPUT -j ACCEPT',
  '-F',
  '-X PVEFW-INPUT',
  'add pvenat-0-x-v4 0.0.0.0/0',
  'destroy PVEFW-0',
  'flush',
  'swap a b',
  '--comment "x"',
  "'; reboot; '",
  '$(reboot)',
  '`id`',
  '${IFS}',
  '| nc 1.2.3.4 1',
  '&& reboot',
  '> /etc/passwd',
  '../../etc/shadow',
  '%s%n',
  '\\n',
  '\\x00',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '"',
  "'",
  '\\',
  '\\"',
  '<script>',
  '\x1b[31m',
  '\x00',
  '\x07',
  '\x7f',
  '\r',
  '\t',
  '\v',
  '\f',
  '\x85',
  '\xa0',
  '\xff\xfe',
  '\xc0\x80',
  ...[
    '\u202e',
    '\u2028',
    '\u200b',
    '\ufeff',
    '\u0661\u0662',
    '\uff18\uff10',
    '\u0410\u0421\u0421',
    '\ud835\udfd6',
    '\u0000',
  ].map(bytes),
)
const wide = fc
  .integer({ min: 1, max: 400 })
  .chain((n) =>
    fc
      .constantFrom('A', ',', '#', ' ', '-', '1,', '80-', '(', '[', '10.', ':', '=', 'a=b ')
      .map((one) => one.repeat(n)),
  )
const mark = fc.constantFrom(MARKER, MARKER.toLowerCase(), MARKER.toUpperCase())
export const noise = fc.oneof(
  { weight: 4, arbitrary: syntax },
  { weight: 2, arbitrary: mark },
  { weight: 1, arbitrary: wide },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }).map(bytes) },
)
export const text = fc.array(noise, { maxLength: 4 }).map((parts) => parts.join(' '))
/** As the API lets it through: raw line feeds begin new lines. */
export const broken = fc
  .tuple(text, fc.constantFrom('\n', '\r\n', '\n[RULES]\n', '\n[group x]\n', '\n[OPTIONS]\n'), text)
  .map((parts) => parts.join(''))

export const name = fc.oneof(
  mark,
  fc.constantFrom('office', 'Office', 'x1', 'self-0-v4', 'a'.repeat(64), '__proto__', 'constructor'),
  noise,
)
export const address = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      '10.10.0.105',
      '10.10.0.107',
      '10.10.0.1',
      '10.10.0.0/16',
      '203.0.113.2',
      '203.0.113.7',
      '198.51.100.7',
      '0.0.0.0/0',
      '8.8.8.8',
      '127.0.0.1',
      '169.254.77.2',
      '255.255.255.255',
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'fd10::105',
      '2001:db8:113::2',
      '::',
      '::1',
      '::/0',
      'fe80::1',
      '::ffff:10.10.0.1',
      'ff02::1',
      'FD10::107',
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '10.10.0.1-10.10.0.200',
      '1.2.3.4,5.6.7.8',
      '10',
      '010.10.0.1',
      '10.10.0.1/33',
      '1.2.3.4,::1',
      '0x0a0a0001',
      '10.10.0.105;reboot',
      '[fd10::105]',
    ),
  },
  { weight: 1, arbitrary: noise },
)
export const reference = fc.oneof(
  name,
  name.map((one) => `+${one}`),
  name.map((one) => `+dc/${one}`),
  name.map((one) => `guest/${one}`),
  fc.constantFrom('+sdn/net-all', '+guest-ipam-107', '+office', 'office', `+${MARKER.toLowerCase()}`),
)
export const where = fc.oneof({ weight: 3, arbitrary: address }, { weight: 2, arbitrary: reference })
export const ports = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      '80',
      '22',
      '8006',
      '443',
      '9100',
      '1-65535',
      '1:65535',
      '9200-9300',
      '0',
      '65536',
      '80,443',
      '90-80',
      'http',
      '99999999999',
      '-1',
      '+80',
      '8e1',
      '0x50',
      '80-',
      '1,'.repeat(20),
      bytes('８０８０'),
      bytes('٨٠'),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.integer({ min: 0, max: 65_536 }), { minLength: 1, maxLength: 120 })
      .map((all) => all.join()),
  },
  { weight: 1, arbitrary: noise },
)
