/** What `ip -j` prints, as facts. What is missing or nothing of the kind is left out. */
import { parseIp } from '../address.ts'
import { field, listOf, parseJson, textOf } from '../json.ts'
import type { Link, Neighbour, OwnAddress } from './node-facts.ts'

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
