/** Networks that are written down, for tests without a kernel. */
import type { ExternalInterface, InternalNetwork, Network } from '../src/network.ts'

/** A node that has nothing but these; the addresses that come first are those that the kernel would choose. */
export function plainNetwork(external: ExternalInterface[], internal: InternalNetwork[]): Network {
  const own = [
    ...external.flatMap(({ name, addresses }) => addresses.map((ip) => ({ dev: name, ip }))),
    ...internal.flatMap(({ bridge, address }) => (address ? [{ dev: bridge, ip: address }] : [])),
  ]
  const inward = internal.map(({ bridge, network }) => ({ dev: bridge, to: network }))
  const names = [...external.map(({ name }) => name), ...internal.map(({ bridge }) => bridge)]
  return plainWay({
    external,
    internal,
    strangers: [],
    own,
    way: {},
    inward,
    outward: [],
    tunnels: [],
    nextHops: [],
    links: new Map(names.map((name) => [name, name])),
    enclosed: new Set(),
    taken: [],
  })
}

/** With the way out by the first external address of each family. */
export function plainWay(network: Network): Network {
  const ways = network.external.flatMap(({ name, addresses }) => addresses.map((ip) => ({ dev: name, ip })))
  for (const one of ways.reverse()) network.way[one.ip.family] = one
  return network
}
