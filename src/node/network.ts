/** Asks the kernel for links, addresses and routes. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FAMILIES, formatRange, type Family, type Range } from '../address.ts'
import type { IpLink, IpRoute, IpRouting, IpRule } from '../ip.ts'
import { inwardTo, toNetwork, type InwardRoute, type Network } from '../network.ts'
import type { Settings } from '../settings.ts'
import type { StoredUplink } from '../uplinks.ts'
import { NO_ANSWERS, type Answers } from './answers.ts'
import { CommandFailed, must, run } from './exec.ts'
import { Unreadable } from './tree.ts'

/** The kernel reports each change (monitor.ts); this interval is for lost reports. */
const MAX_AGE_MS = 60_000

/** `uplinks`: as the look before knew them; `now`: UNIX seconds. */
export async function readNetwork(
  settings: Settings,
  uplinks: readonly StoredUplink[],
  now: number,
  { ask }: Answers = NO_ANSWERS,
): Promise<Network> {
  const [links, v4, v6, declared] = await Promise.all([
    ask('links', MAX_AGE_MS, readLinks),
    ask('IPv4 routes', MAX_AGE_MS, () => readRouting(4)),
    ask('IPv6 routes', MAX_AGE_MS, () => readRouting(6)),
    ask('interfaces(5)', MAX_AGE_MS, readDeclared),
  ])
  const network = toNetwork(links, { 4: v4, 6: v6 }, settings, declared, uplinks, now)
  const isRuled = (family: Family): boolean => (network.foreign?.[family].rules.length ?? 0) > 0
  const taken = await Promise.all(
    FAMILIES.filter(isRuled).map((family) =>
      ask(`IPv${family} ways to guests`, MAX_AGE_MS, () => readTaken(network, family)),
    ),
  )
  return { ...network, taken: taken.flat() }
}

/** Asks the kernel for the way from the internet to each internal network: rules of others may lead it elsewhere. */
async function readTaken(node: Network, family: Family): Promise<InwardRoute[]> {
  const uplink = node.external.find(({ families }) => families.includes(family))
  const guests = new Map(
    node.internal.flatMap(({ bridge, network, address }) => {
      const guest = firstHost(network, address)
      // Where the table main leads elsewhere, no rule took it.
      const isHere = guest?.family === family && inwardTo(node, guest)?.dev === bridge
      return isHere ? [[formatRange(guest), { bridge, network }]] : []
    }),
  )
  if (!uplink || guests.size === 0) return []
  const questions = [...guests.keys()].map(
    (guest) => `route get ${guest} from ${OUTSIDE[family]} iif ${uplink.name}\n`,
  )
  const { stdout } = await run('ip', ['-j', `-${family}`, '-force', '-batch', '-'], questions.join(''))
  const answers = stdout.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as IpRoute[])))
  return answers.flatMap(({ dst = '', dev }) => {
    const asked = guests.get(dst)
    return asked && dev !== undefined && dev !== asked.bridge ? [{ to: asked.network, dev }] : []
  })
}

/** An address that a guest may have, beside the node's own; undefined where there is room for none. */
function firstHost({ family, lo, hi }: Range, own: Range | undefined): Range | undefined {
  const first = lo + 1n === own?.lo ? lo + 2n : lo + 1n
  return first < hi ? { family, lo: first, hi: first } : undefined
}

async function readLinks(): Promise<IpLink[]> {
  const text = await must('ip', ['-j', '-d', 'addr', 'show'])
  return text.trim() === '' ? [] : (JSON.parse(text) as IpLink[])
}

/** A root server: an address that is in no private network. */
const OUTSIDE = { 4: '198.41.0.4', 6: '2001:503:ba3e::2:30' } as const
/** Addresses that lie in routes of a half or more of the internet. */
const HALF = { 4: '0.0.0.0/1', 6: '2000::/4' } as const

/** Each command prints one line; the last is left out where there is no way outside. */
async function readRouting(family: Family): Promise<IpRouting> {
  if (family === 6 && !existsSync('/proc/sys/net/ipv6'))
    return { rules: [], defaults: [], routes: [], outside: undefined }
  const commands = [
    'rule show',
    `route show table all match ${HALF[family]}`,
    'route show table main',
    'route show table local type local',
    `route get ${OUTSIDE[family]}`,
  ]
  const args = ['-j', `-${family}`, '-force', '-batch', '-']
  const finished = await run('ip', args, commands.map((line) => `${line}\n`).join(''))
  const [rules, defaults, main, local, outside] = finished.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as (IpRoute & IpRule)[])
  if (!rules || !defaults || !main || !local)
    throw new CommandFailed(`ip ${args.join(' ')}`, finished, commands.join('\n'))
  return { rules, defaults, routes: [...main, ...local], outside: outside?.[0] }
}

/** The interfaces that are configured for this node, VNets of SDN among them (interfaces(5)). */
async function readDeclared(): Promise<ReadonlySet<string>> {
  const folder = '/etc/network/interfaces.d'
  const more = (await orMissing(readdir(folder))) ?? []
  const paths = ['/etc/network/interfaces', ...more.map((name) => join(folder, name))]
  const texts = await Promise.all(paths.map((path) => orMissing(readFile(path, 'utf8'))))
  const lines = texts.flatMap((text = '') => text.split('\n'))
  return new Set(lines.flatMap((line) => /^\s*iface\s+(\S+)/.exec(line)?.[1] ?? []))
}

/** Undefined where there is no such file; whatever else keeps it from being read is an error. */
function orMissing<T>(read: Promise<T>): Promise<T | undefined> {
  return read.catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new Unreadable(`cannot read ${error.path}: ${error.code}`)
  })
}
