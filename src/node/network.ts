/** Asks the kernel for links, addresses and routes. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Family } from '../address.ts'
import type { IpLink, IpRoute, IpRouting, IpRule } from '../ip.ts'
import { toNetwork, type Network } from '../network.ts'
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
  return toNetwork(links, { 4: v4, 6: v6 }, settings, declared, uplinks, now)
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
