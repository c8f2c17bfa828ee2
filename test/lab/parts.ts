/** What is ours in the kernel and what is everybody else's, each as text to compare; read in one go, so that it is quick. */
import type { Backend } from './firewall.ts'
import type { Lab } from './lab.ts'
import { normaliseRules } from './snapshot.ts'

const LEGACY_4 = 'iptables-legacy-save'
const commands = [
  LEGACY_4,
  'ip6tables-legacy-save',
  'iptables-nft-save',
  'ip6tables-nft-save',
  'ipset save',
  'ip -br link',
  'ip route show table all',
  'ip -6 route show table all',
  'ip rule',
  'ip -6 rule',
  'cat /proc/sys/net/ipv4/ip_forward',
] as const
type Command = (typeof commands)[number]
const MAX_TRIES = 5

export interface Parts {
  /** Own chains, the places of our hooks, own sets, own interfaces, routes and routing rules, ip_forward. */
  own: string
  /** All other rules and sets. Of sets only what they are, for a set that is flushed is nobody's rule harmed by us. */
  foreign: string
}

export async function readParts(lab: Lab, node = 'pve'): Promise<Parts> {
  const stdout = await readAll(lab, node)
  const texts = new Map(
    stdout
      .split(/^## /m)
      .map((part) => [part.split('\n', 1)[0] as Command, part.slice(part.indexOf('\n') + 1)]),
  )
  const saves = commands.slice(0, 4).map((name) => [name, texts.get(name) ?? ''] as const)
  const lines = (name: Command) => (texts.get(name) ?? '').split('\n').filter((line) => line !== '')
  const sets = lines('ipset save')
    .map((line) => line.replace(/ (initval|packets|bytes) \S+/g, ''))
    .sort()
  const routing = ['ip route show table all', 'ip -6 route show table all', 'ip rule', 'ip -6 rule'] as const
  const links = ['ip -br link' as const, ...routing].flatMap(lines).filter((line) => OWN_LINK.test(line))
  const own = [
    ...saves.flatMap(([name, text]) => ownRules(name, text)),
    ...sets.filter((line) => / pvenat-/.test(line)),
    ...links.map((line) => line.replace(/\s+/g, ' ').trim()).sort(),
    ...lines('cat /proc/sys/net/ipv4/ip_forward').map((value) => `ip_forward ${value}`),
  ]
  const foreign = [
    ...saves.flatMap(([name, text]) => [`# ${name}`, ...normaliseRules(withoutOwn(text))]),
    ...sets.filter((line) => !/ pvenat-/.test(line)),
  ]
  return { own: own.join('\n'), foreign: foreign.join('\n') }
}

/** Interfaces of ours with their routes, and routing rules and routes by the number of our protocol. */
const OWN_LINK = /pvenat|proto(col)? 118/

/** An iptables-save ends half-way when a set goes whose rules it has just read. */
async function readAll(lab: Lab, node: string): Promise<string> {
  const script = commands.map((command) => `echo "## ${command}"; ${command} || exit`).join('\n')
  for (let tries = 1; ; tries++) {
    const { stdout, exitCode } = await lab.exec(node, ['sh', '-c', script], { check: tries === MAX_TRIES })
    if (exitCode === 0) return stdout
  }
}

function withoutOwn(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.includes('PVENAT-'))
    .join('\n')
}

/** Each rule of ours with its place among all rules of its chain: the first, the last, or a number. */
function ownRules(name: string, text: string): string[] {
  const tables = text.split(/^\*/m).slice(1)
  return tables.flatMap((part) => {
    const [table = '', ...lines] = part.split('\n')
    const chainOf = (line: string) => /^-A (\S+)/.exec(line)?.[1]
    const places = new Map<string, string[]>()
    for (const line of lines) {
      const chain = chainOf(line)
      if (chain !== undefined) places.set(chain, [...(places.get(chain) ?? []), line])
    }
    const declared = lines.filter((line) => line.startsWith(':PVENAT-')).map((line) => line.split(' ')[0])
    const rules = [...places].flatMap(([chain, all]) =>
      all.flatMap((line, i) => {
        if (!line.includes('PVENAT-')) return []
        const place = i === 0 ? 'first' : i === all.length - 1 ? 'last' : String(i + 1)
        return [`${chain.startsWith('PVENAT-') ? i + 1 : place} ${line}`]
      }),
    )
    return [...declared, ...rules].map((line) => `${name} ${table} ${line}`)
  })
}

/** Whether anything of ours is in a backend's tables. */
export function isInBackend({ own }: Parts, backend: Backend): boolean {
  return own.split('\n').some((line) => line.includes(`tables-${backend}-save`))
}
