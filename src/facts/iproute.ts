/** What `ip -j` prints, as facts. What is missing or nothing of the kind is left out. */
import { parseCidr, parseIp, type Family, type Range } from '../address.ts'
import { field, listOf, parseJson, textOf } from '../json.ts'
import type { Link, Neighbour, OwnAddress, Route } from './node-facts.ts'

/** `ip -j addr show`. */
export function parseLinks(text: string): { links: Link[]; addresses: OwnAddress[] } {
  const all = listOf(parseJson(text))
  const links = all.map((link) => {
    const [name, master] = [textOf(field(link, 'ifname')), textOf(field(link, 'master'))]
    return { name, up: listOf(field(link, 'flags')).includes('UP'), ...(master === '' ? {} : { master }) }
  })
  const addresses = all.flatMap((link) =>
    listOf(field(link, 'addr_info')).flatMap((one) => {
      const ip = parseIp(textOf(field(one, 'local')))
      return ip ? [{ dev: textOf(field(link, 'ifname')), ip }] : []
    }),
  )
  return { links, addresses }
}

/** `ip -j -4 route show` and `ip -j -6 route show`: the main table. */
export function parseRoutes(text: string, family: Family): Route[] {
  const all = listOf(parseJson(text)).flatMap((one): Route[] => {
    const dst = textOf(field(one, 'dst'))
    const to = parseCidr(dst === 'default' ? (family === 4 ? '0.0.0.0/0' : '::/0') : dst)
    const hops = [one, ...listOf(field(one, 'nexthops'))].map((hop) => textOf(field(hop, 'dev')))
    const dev = hops.find((name) => name !== '')
    const type = textOf(field(one, 'type')) || 'unicast'
    const metric = Number(textOf(field(one, 'metric')) || 0)
    return to?.family === family ? [{ to, type, metric, dev }] : []
  })
  return all.sort((a, b) => width(a.to) - width(b.to) || a.metric - b.metric)
}

function width({ lo, hi }: Range): number {
  return (hi - lo).toString(2).length
}

/** `ip -j neigh show`. */
export function parseNeighbours(text: string): Neighbour[] {
  return listOf(parseJson(text)).flatMap((one) => {
    const ip = parseIp(textOf(field(one, 'dst')))
    if (!ip) return []
    return [
      {
        dev: textOf(field(one, 'dev')),
        ip,
        mac: textOf(field(one, 'lladdr')).toUpperCase(),
        states: listOf(field(one, 'state')).map(textOf),
      },
    ]
  })
}

/** Whether `ip -j rule` names more than the tables local, main and default. */
export function hasPolicyRouting(text: string): boolean {
  return listOf(parseJson(text)).some((rule) => {
    const table = textOf(field(rule, 'table'))
    return !['local', 'main', 'default'].includes(table) || textOf(field(rule, 'src')) !== 'all'
  })
}
