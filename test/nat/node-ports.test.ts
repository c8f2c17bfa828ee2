// What the node itself has: ports that rules of others lead away, protocols of tunnels, and all of it for ten minutes longer.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { network, parseIp, type Range } from '../../src/address.ts'
import { foreignNat } from '../../src/facts/foreign.ts'
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { parseRaw, parseXfrm, publishedPorts, usedProtocols } from '../../src/facts/published.ts'
import {
  GRACE_SECONDS,
  nodePortsNow,
  restorePorts,
  storePorts,
  type NodePort,
} from '../../src/nat/node-ports.ts'
import { plainNetwork } from '../network.ts'

const ip = (text: string): Range => parseIp(text) as Range
const NETWORK = plainNetwork(
  [
    {
      name: 'vmbr0',
      families: [4],
      addresses: [ip('203.0.113.2'), ip('203.0.113.7')],
      networks: [network(4, ip('203.0.113.0').lo, 24)],
    },
  ],
  [{ bridge: 'vmbr1', network: network(4, ip('10.10.10.0').lo, 24), address: ip('10.10.10.1') }],
)

/** `tcp 8085` for each port that a line of the nat table keeps from guests. */
function published(backend: 'legacy' | 'nft', line: string): string[] {
  const [tables, text] = [{ 4: '', 6: '' }, `*nat\n:DOCKER - [0:0]\n${line}\nCOMMIT\n`]
  const all = { legacy: tables, nft: tables, [backend]: { 4: text, 6: '' } }
  return publishedPorts(foreignNat({ tables: all, nftables: NO_NFTABLES }), NETWORK).map(
    ({ proto, ports, address }) => `${proto} ${ports?.join('-')}${address ? ' at one address' : ''}`,
  )
}

test.each(['legacy', 'nft'] as const)('published by iptables-%s', (backend) => {
  const of = (rule: string): string[] => published(backend, rule)
  const tcp = '-p tcp -m tcp --dport 8085'
  const DNAT = '-j DNAT --to-destination 172.17.0.2:80'
  expect(of(`-A DOCKER ${tcp} ${DNAT}`)).toEqual(['tcp 8085-8085'])
  expect(of(`-A PREROUTING -i vmbr0 ${tcp} -j REDIRECT --to-ports 80`)).toEqual(['tcp 8085-8085'])
  expect(of(`-A PREROUTING -p udp -m multiport --dports 53,100:200 ${DNAT}`)).toEqual([
    'udp 53-53',
    'udp 100-200',
  ])
  expect(of(`-A PREROUTING -d 203.0.113.7/32 ${tcp} ${DNAT}`)).toEqual(['tcp 8085-8085 at one address'])
  expect(of('-A PREROUTING -d 203.0.113.7/32 -j NETMAP --to 10.10.10.7/32')).toContain(
    'tcp 0-65535 at one address',
  )
  // Nothing from outside meets these.
  expect(of(`-A OUTPUT ${tcp} ${DNAT}`)).toEqual([])
  expect(of(`-A PREROUTING -i vmbr1 ${tcp} ${DNAT}`)).toEqual([])
  expect(of(`-A PREROUTING -s 10.10.10.0/24 ${tcp} ${DNAT}`)).toEqual([])
  expect(of(`-A POSTROUTING -p tcp -m tcp --sport 8085 -j MASQUERADE`)).toEqual([])
})

test('protocols of tunnels, of raw sockets and of IPsec', () => {
  const raw = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   47: 00000000:002F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 20000 2 0 0',
    '    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 20001 2 0 0',
  ].join('\n')
  const xfrm =
    'src 203.0.113.2 dst 198.51.100.7\n\tproto esp spi 0x1 reqid 1 mode tunnel\n\treplay-window 32\n'
  const used = (...of: Parameters<typeof usedProtocols>): string[] =>
    usedProtocols(...of).map(({ proto, family, holder }) => `${proto} ${family ?? ''} ${holder}`)
  expect(used(['bridge', 'gre', 'ipip', 'sit', 'ip6tnl'], [], [])).toEqual([
    'gre 4 a tunnel of the kind gre',
    '4 4 a tunnel of the kind ipip',
    '41 4 a tunnel of the kind sit',
    '41 6 a tunnel of the kind ip6tnl',
  ])
  expect(used([], parseRaw(raw), parseXfrm(xfrm))).toEqual(['gre  a raw socket', 'esp  IPsec'])
})

const port: fc.Arbitrary<NodePort> = fc
  .record({
    proto: fc.constantFrom('tcp', 'udp'),
    ports: fc.constantFrom<[number, number][]>([80, 80], [9100, 9100], [100, 200]),
    address: fc.constantFrom(undefined, ip('203.0.113.2')),
  })
  .map(({ address, ...one }) => ({ ...one, ...(address ? { address } : {}), holder: 'a service' }))
const keyOf = ({ proto, ports, address }: NodePort): string => [proto, ports, address?.lo].join(' ')

test('a port is the node’s from the look that sees it to ten minutes after the last one, over boots and through the state', () => {
  const look = fc.record({
    seen: fc.array(port, { maxLength: 3 }),
    seconds: fc.integer({ max: 700, min: 1 }),
  })
  fc.assert(
    fc.property(fc.array(look, { maxLength: 12 }), (looks) => {
      const until = new Map<string, number>()
      let stored = '[]'
      let now = 1_760_000_000
      let before: string[] = []
      for (const { seen, seconds } of looks) {
        now += seconds
        const restored = restorePorts(JSON.parse(stored) as ReturnType<typeof storePorts>)
        const ports = nodePortsNow(seen, restored, now)
        // That it went is known at the first look without it, which after a boot is the first of all.
        for (const key of before) until.set(key, now + GRACE_SECONDS)
        before = seen.map(keyOf)
        for (const key of before) until.set(key, Infinity)
        const expected = [...until].filter(([, end]) => end > now).map(([key]) => key)
        expect(ports.map(keyOf).sort()).toEqual(expected.sort())
        stored = JSON.stringify(storePorts(ports))
      }
    }),
  )
})
