/** Trees of hostile files. */
import fc from 'fast-check'
import { NOTHING_LEARNT, type LearntTexts } from '../../src/guest/sightings.ts'
import { macOf, type HostileGuest, type HostileTree } from './node.ts'
import { alias, entry, line, rule } from './rules.ts'
import { address, MARKER, name, noise, ports, text } from './words.ts'

const section = (title: string, body: fc.Arbitrary<string>, maxLength = 6) =>
  fc.array(body, { maxLength }).map((lines) => `${title}\n${lines.join('\n')}\n`)
const sets = name.chain((one) => section(`[IPSET ${one}]`, entry))
const fw = fc.tuple(
  fc.constantFrom('[OPTIONS]\nenable: 1\n', '[OPTIONS]\nenable: 1\n', '[OPTIONS]\nenable: 1\n', ''),
  section(
    '[ALIASES]',
    fc.oneof(
      alias,
      address.map((one) => `office ${one}`),
    ),
    3,
  ),
  fc.oneof(
    sets,
    section('[IPSET office]', entry),
    section(`[IPSET ${MARKER}]`, entry),
    section('[IPSET ipfilter-net0]', entry),
  ),
  section('[RULES]', line, 10),
  fc.oneof({ weight: 3, arbitrary: fc.constant('') }, { weight: 1, arbitrary: text }),
)
const guestFw = fw.map((parts) => parts.join(''))
const clusterFw = fc
  .tuple(
    fw,
    section('[group web]', rule, 4),
    name.chain((one) => section(`[group ${one}]`, rule, 2)),
  )
  .map(([parts, ...groups]) => parts.slice(0, 4).join('') + groups.join(''))

const config = (vmid: number) =>
  fc
    .tuple(
      fc.oneof(fc.constant('shop'), noise),
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom('vmbr1', 'vmbr0') }, noise),
      fc.oneof({ weight: 4, arbitrary: fc.constant(`10.10.0.${vmid}`) }, address),
      fc.oneof({ weight: 4, arbitrary: fc.constant('') }, text),
    )
    .map(
      ([host, bridge, ip, rest]) =>
        `hostname: ${host}\nnet0: name=eth0,bridge=${bridge},hwaddr=${macOf(vmid)},ip=${ip}/16,ip6=fd10::${vmid}/64\nnet1: ${rest}\n${rest}\n[snapshot]\nnet0: bridge=vmbr9`,
    )
const guest = (vmid: number): fc.Arbitrary<HostileGuest> =>
  fc.record({
    vmid: fc.constant(vmid),
    type: fc.constantFrom('lxc', 'qemu'),
    config: config(vmid),
    fw: guestFw,
  })

const json = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.json().map((one) => one.slice(0, -1)),
  noise,
  fc.constantFrom(
    'null',
    '[]',
    '{}',
    '{"zones":null}',
    '{"zones":{"z":{"subnets":{"s":{"ips":[]}}}}}',
    '{"__proto__":{"vmid":107}}',
  ),
)
const ips = fc.dictionary(
  address,
  fc.record(
    {
      vmid: fc.oneof(fc.constantFrom(105, '107', 'x', null, -1), noise),
      mac: fc.constantFrom(macOf(105), macOf(107), 'x', null),
    },
    { requiredKeys: [] },
  ),
  { maxKeys: 3 },
)
const ipam = fc.oneof(
  json,
  ips.map((one) => JSON.stringify({ zones: { z: { subnets: { s: { ips: one } } } } })),
)
const sdn = fc.oneof(
  json,
  fc.tuple(name, address).map(([vnet, gateway]) =>
    JSON.stringify({
      subnets: {
        ids: {
          'z-10.10.0.0-16': {
            vnet,
            gateway,
            'dhcp-range': ['start-address=10.10.0.9,end-address=10.10.0.99'],
          },
        },
      },
    }),
  ),
)
const lease = fc
  .tuple(
    fc.constantFrom('0', '1', '99999999999', 'x'),
    fc.constantFrom(macOf(105), macOf(107), 'x'),
    address,
    text,
  )
  .map((words) => words.join(' '))
const list = (one: fc.Arbitrary<string>): fc.Arbitrary<string[]> =>
  fc.array(one, { minLength: 1, maxLength: 1 })
const learnt: fc.Arbitrary<LearntTexts> = fc
  .record({
    sdn,
    ipam: list(ipam),
    'mac-cache': list(json),
    ethers: fc.array(
      lease.map((one) => one.replace(/ /g, ',')),
      { maxLength: 2 },
    ),
    lease: fc.array(lease, { maxLength: 3 }),
    neighbour: list(json),
  })
  .map((one) => ({ ...NOTHING_LEARNT, ...one }))

const right = fc
  .tuple(
    fc.constantFrom('105', '107', '9', MARKER),
    fc.constantFrom('tcp', 'udp', 'all', 'inner', 'snat'),
    fc.oneof(fc.constantFrom('-', '80-90'), ports),
    fc.constantFrom('any', 'abc'),
    fc.oneof(fc.constantFrom('*4', '*6', '203.0.113.2,203.0.113.7'), address),
  )
  .map((words) => words.join(' '))

export const hostileTree: fc.Arbitrary<HostileTree> = fc.record(
  {
    cluster: clusterFw.map((one) => (one.startsWith('[OPTIONS]') ? one : `[OPTIONS]\nenable: 1\n${one}`)),
    host: fc.oneof(fc.constant(''), guestFw),
    guests: fc.tuple(guest(105), guest(107)).map((both) => both),
    learnt: fc.oneof({ weight: 2, arbitrary: fc.constant(NOTHING_LEARNT) }, { weight: 1, arbitrary: learnt }),
    rights: fc.array(right, { maxLength: 3 }),
  },
  { requiredKeys: ['cluster', 'host', 'guests'] },
)
