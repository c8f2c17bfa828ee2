import type { Lab } from './lab.ts'
import type { Namespace } from './namespace.ts'

/**
 * The whole state of a node's network that a NAT tool could harm, as text to compare before and after: rules of
 * both backends and families, sets, other nft tables, sysctls, links, addresses, routes. Left out: counters, dates,
 * times, link-local addresses, and tables in which nothing is but built-in chains with policy ACCEPT.
 */
export async function snapshot(lab: Lab, node = 'pve'): Promise<string> {
  const namespace = lab.ns(node)
  const saves = ['legacy', 'nft'].flatMap((backend) => [
    rulesOf(namespace, `iptables-${backend}-save`),
    rulesOf(namespace, `ip6tables-${backend}-save`),
  ])
  const parts = [
    ...saves,
    setsOf(namespace),
    otherNftTables(namespace),
    sysctlsOf(namespace),
    linksOf(namespace),
  ]
  return (await Promise.all(parts)).flat().join('\n') + '\n'
}

/** Normalises iptables-save text: tables and chains sorted, rules in their order, counters and remarks gone. */
export function normaliseRules(text: string): string[] {
  const tables = text.split(/^\*/m).slice(1).sort()
  return tables.flatMap((table) => {
    const [name = '', ...lines] = table.split('\n')
    const chains = lines.filter((line) => line.startsWith(':')).map((line) => line.replace(/ ?\[.*/, ''))
    const rules = lines
      .filter((line) => /^(\[\d+:\d+\] )?-A/.test(line))
      .map((line) => line.replace(/^\[.*?\] /, ''))
    const isUntouched = rules.length === 0 && chains.every((chain) => chain.endsWith(' ACCEPT'))
    const chainOf = (rule: string) => rule.split(' ', 2)[1] ?? ''
    const sorted = rules.sort((a, b) => (chainOf(a) < chainOf(b) ? -1 : chainOf(a) > chainOf(b) ? 1 : 0))
    return isUntouched ? [] : [`*${name}`, ...chains.sort(), ...sorted]
  })
}

async function rulesOf(namespace: Namespace, command: string): Promise<string[]> {
  const { stdout } = await namespace.exec([command])
  return [`# ${command}`, ...normaliseRules(stdout)]
}

async function setsOf(namespace: Namespace): Promise<string[]> {
  const { stdout } = await namespace.exec(['ipset', 'save'])
  const lines = stdout.split('\n').map((line) => line.replace(/ (initval|timeout|packets|bytes) \S+/g, ''))
  return ['# ipset save', ...lines.filter((line) => line !== '').sort()]
}

/** Tables of nft that iptables-nft does not show. */
async function otherNftTables(namespace: Namespace): Promise<string[]> {
  const { stdout } = await namespace.exec(['nft', 'list', 'tables'])
  const tables = stdout
    .split('\n')
    .filter((line) => line !== '' && !/ (ip|ip6) (raw|mangle|nat|filter|security)$/.test(line))
  const listings = tables.sort().map(async (line) => {
    const [, family = '', name = ''] = line.split(' ')
    return (await namespace.exec(['nft', '-s', 'list', 'table', family, name])).stdout
  })
  return ['# nft', ...(await Promise.all(listings))]
}

async function sysctlsOf(namespace: Namespace): Promise<string[]> {
  const inDir = async (dir: string, names: string[]) => {
    const devices = await namespace.request<string[]>('list', { path: `/proc/sys/${dir}` })
    return devices.sort().flatMap((device) => names.map((name) => `${dir}/${device}/${name}`))
  }
  const keys = [
    'net/ipv4/ip_forward',
    'net/bridge/bridge-nf-call-iptables',
    'net/bridge/bridge-nf-call-ip6tables',
    'net/netfilter/nf_conntrack_max',
    ...(await inDir('net/ipv4/conf', ['forwarding', 'rp_filter', 'route_localnet', 'send_redirects'])),
    ...(await inDir('net/ipv6/conf', ['forwarding', 'accept_ra', 'disable_ipv6'])),
  ]
  const values = await namespace.read(keys.map((key) => `/proc/sys/${key}`))
  return ['# sysctl', ...keys.map((key, index) => `${key} = ${values[index] ?? '-'}`)]
}

async function linksOf(namespace: Namespace): Promise<string[]> {
  const show = async (...args: string[]) => {
    const { stdout } = await namespace.exec(['ip', ...args])
    return [`# ip ${args.join(' ')}`, ...stdout.split('\n').map(withoutCarrier).filter(Boolean).sort()]
  }
  const parts = [
    ['-br', 'link'],
    ['-br', 'addr'],
    ...['-4', '-6'].map((family) => [family, 'route', 'show', 'table', 'all']),
    ...['-4', '-6'].map((family) => [family, 'rule']),
    ...['-4', '-6'].map((family) => [family, 'neigh', 'show', 'nud', 'permanent']),
  ].map((args) => show(...args))
  return (await Promise.all(parts)).flat()
}

/** What `ip` says of a link that comes with its carrier, up to a second after the link was set up, is left out. */
function withoutCarrier(line: string): string {
  if (/(^|\s)(fe80::\S*|ff00::\/8) .*dev /.test(line)) return ''
  return line
    .replace(/^(\S+\s+)(UP|DOWN|UNKNOWN|LOWERLAYERDOWN)\b/, '$1')
    .replace(/NO-CARRIER,|,LOWER_UP| linkdown| fe80::\S+/g, '')
    .replace(/\s+/g, ' ')
    .trim()
}
