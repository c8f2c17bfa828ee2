/** Lines of .fw files made of hostile words; some are good rules with hostile words where they may stand. */
import fc from 'fast-check'
import { address, broken, MARKER, name, noise, ports, reference, text, where } from './words.ts'

const option = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('if', 'to', 'full', 'snat', 'hairpin', MARKER),
      fc.oneof(address, fc.constantFrom('0', '1', 'vmbr0', 'eth9', '$(id)'), noise),
    )
    .map((pair) => pair.join('=')),
  noise,
)
const endpoint = fc.oneof(
  fc.constantFrom('', 'none', '203.0.113.7', '198.51.100.96/28', '2001:db8:77::/64'),
  ports,
  address,
  fc.tuple(address, ports).map(([ip, list]) => (ip.includes(':') ? `[${ip}]:${list}` : `${ip}:${list}`)),
)
const comment = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        fc.constantFrom('NAT ', 'NAT:', 'NAT  ', 'NAT\t', 'NAT'),
        endpoint,
        fc.array(option, { maxLength: 3 }),
        text,
      )
      .map(([nat, end, options, free]) => `${nat}${[end, ...options, free].join(' ')}`),
  },
  { weight: 1, arbitrary: broken.map((one) => `NAT 9000 ${one}`) },
  { weight: 1, arbitrary: text },
)
const field = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('-source', '-dest'), where).map((pair) => pair.join(' ')),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom('-p tcp -dport', '-p udp -dport', '-p tcp -sport', '-p sctp -dport', '-dport'),
        ports,
      )
      .map((pair) => pair.join(' ')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '-p tcp',
      '-p udp',
      '-p icmp',
      '-p esp',
      '-p gre',
      '-p icmp -icmp-type any',
      '-p 41',
      '-p all',
      '-i net0',
      '-i vmbr0',
      '-i vmbr1',
      '-log info',
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('-i', '-p', '-icmp-type', '-log'), noise)
      .map((pair) => pair.join(' ')),
  },
)
const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      'ACCEPT',
      'SSH(ACCEPT)',
      'Web(ACCEPT)',
      'DNS(ACCEPT)',
      'IPsec(ACCEPT)',
      'Ping(ACCEPT)',
      'DROP',
      'REJECT',
    ),
  },
  { weight: 1, arbitrary: name.map((one) => `${one}(ACCEPT)`) },
)
export const rule = fc
  .tuple(
    fc.constantFrom('IN', 'IN', 'IN', 'OUT', 'FORWARD', '|IN', 'in'),
    action,
    fc.array(field, { maxLength: 4 }),
    comment,
  )
  .map(([type, act, fields, said]) => `${[type, act, ...fields].join(' ')} # ${said}`)
/** Rules that come into force, with hostile words where they may stand. */
const good = fc
  .tuple(
    fc.constantFrom(
      'IN HTTP(ACCEPT) # NAT 9200',
      'IN ACCEPT -source +office # NAT 9201-9209 if=vmbr0',
      'OUT ACCEPT # NAT',
      'IN ACCEPT -p tcp -dport 80 -sport 9300 # NAT',
      'IN ACCEPT # NAT 203.0.113.7 full=1',
      'IN ACCEPT # NAT 198.51.100.96/28 full=1 to=10.10.10.96/28',
      'IN ACCEPT -p udp # NAT 9400 snat=1',
      'IN ACCEPT -source 1.2.3.4,5.6.7.8 -p tcp # NAT 9500',
      `IN HTTP(ACCEPT) -source +${MARKER.toLowerCase()} # NAT 9600`,
      'OUT ACCEPT -dest office # NAT 203.0.113.7',
      'IN ACCEPT -p tcp -dport 80 # NAT none',
      'IN Web(ACCEPT) # NAT 9080,9443 hairpin=0',
    ),
    text,
  )
  .map(([start, said]) => `${start} - ${said}`)
const group = name.map((one) => `GROUP ${one}`)
export const line = fc.oneof(
  { weight: 8, arbitrary: rule },
  { weight: 5, arbitrary: good },
  { weight: 1, arbitrary: fc.oneof(group, fc.constantFrom('GROUP web', 'GROUP web -i net0')) },
  { weight: 1, arbitrary: text },
)
export const entry = fc
  .tuple(
    fc.constantFrom('', '!', '! '),
    fc.oneof(address, reference),
    fc.oneof(
      fc.constant(''),
      text.map((one) => ` # ${one}`),
    ),
  )
  .map((parts) => parts.join(''))
export const alias = fc.tuple(name, address, text).map(([key, value, said]) => `${key} ${value} # ${said}`)
