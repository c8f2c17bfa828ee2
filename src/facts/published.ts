/** Ports of the node that rules of others lead away: Docker without its proxy, hand-written lines, tables of nft itself. */
import { contains, type Range } from '../address.ts'
import { ALL_PORTS } from '../ports.ts'
import { WITH_PORTS, WITHOUT_PORTS, protocolName } from '../nat/template.ts'
import type { NodePort } from '../nat/node-ports.ts'
import type { Network } from '../network.ts'
import { isInterface, type ForeignNat } from './foreign.ts'

/** What packets that come from outside may meet: DNAT, REDIRECT and NETMAP, but for packets of the node itself or of internal networks. */
export function publishedPorts(rules: readonly ForeignNat[], { external, internal }: Network): NodePort[] {
  const isOutside = (rule: ForeignNat): boolean =>
    (rule.in === undefined || external.some(({ name }) => isInterface(rule.in, name))) &&
    !(rule.source?.every((range) => internal.some(({ network }) => contains(network, range))) ?? false)
  return rules
    .filter((rule) => rule.kind === 'destination' && rule.chain !== 'OUTPUT' && isOutside(rule))
    .flatMap((rule) =>
      portsOf(
        rule,
        external.flatMap(({ addresses }) => addresses),
      ),
    )
}

function portsOf(rule: ForeignNat, own: readonly Range[]): NodePort[] {
  const { family, ports = [ALL_PORTS], destination, to } = rule
  const proto = rule.proto === undefined ? undefined : protocolName(rule.proto)
  const holder = `${rule.isNative ? 'nftables' : 'iptables'} chain ${rule.chain}`
  const protos = proto === undefined ? [...WITH_PORTS, ...WITHOUT_PORTS] : [proto]
  const places = destination
    ? own.filter((address) => destination.some((range) => contains(range, address)))
    : [undefined]
  return places.flatMap((address) =>
    protos.flatMap((one): NodePort[] => {
      const port = { proto: one, family, holder, ...(address ? { address } : {}), ...(to ? { to } : {}) }
      return WITH_PORTS.has(one) ? ports.map((range) => ({ ...port, ports: range })) : [port]
    }),
  )
}

/** The kinds of interfaces that are tunnels, each with its protocol per family. */
const TUNNELS: Readonly<Record<string, NodePort[]>> = Object.fromEntries(
  (
    [
      ['gre', 'gre', 4],
      ['gretap', 'gre', 4],
      ['erspan', 'gre', 4],
      ['ip6gre', 'gre', 6],
      ['ip6gretap', 'gre', 6],
      ['ip6erspan', 'gre', 6],
      ['ipip', '4', 4],
      ['vti', '4', 4],
      ['sit', '41', 4],
      ['ip6tnl', '41', 6],
    ] as const
  ).map(([kind, proto, family]) => [kind, [{ proto, family, holder: `a tunnel of the kind ${kind}` }]]),
)

/** Protocols without ports that the node uses: `kinds` of its tunnels, protocol numbers of raw sockets, protocols of its IPsec states. */
export function usedProtocols(
  kinds: readonly string[],
  raw: readonly number[],
  ipsec: readonly string[],
): NodePort[] {
  return [
    ...kinds.flatMap((kind) => TUNNELS[kind] ?? []),
    ...raw.flatMap((number) => {
      const proto = protocolName(String(number))
      return WITHOUT_PORTS.has(proto) ? [{ proto, holder: 'a raw socket' }] : []
    }),
    ...ipsec.map((proto) => ({ proto, holder: 'IPsec' })),
  ]
}

/** The protocol numbers of raw sockets, from /proc/net/raw and raw6: they stand where ports do. */
export function parseRaw(text: string): number[] {
  return text.split('\n').flatMap((line) => {
    const hex = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /.exec(line)?.[1]
    return hex === undefined ? [] : [parseInt(hex, 16)]
  })
}

/** The protocols of `ip xfrm state`. */
export function parseXfrm(text: string): string[] {
  return ['esp', 'ah'].filter(
    (proto) => text.includes(` proto ${proto} `) || text.includes(`\tproto ${proto} `),
  )
}
