/** Reads the facts for `explain` and `doctor`. It changes nothing; unreadable facts are reported, not guessed. */
import { readdir, readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { READ_SYSCTLS, type BootLine, type NodeFacts, type PortHolder } from '../facts/node-facts.ts'
import { parseBootLines } from '../facts/interfaces.ts'
import { hasPolicyRouting, parseLinks, parseNeighbours } from '../facts/iproute.ts'
import { parseNftables } from '../facts/nftables.ts'
import type { Socket } from '../nat/sockets.ts'
import type { Backend } from '../facts/backend.ts'
import { savedBy } from './backend.ts'
import { run } from './exec.ts'
import { processesWith } from './listeners.ts'
import { serviceState } from './unit.ts'

/** `listeners`: the sockets whose processes are wanted by name and unit. */
export async function readFacts(
  backend: Backend,
  runDir: string,
  listeners: readonly Socket[],
): Promise<NodeFacts> {
  const unread: string[] = []
  const text = async (file: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(file, args)
    if (code !== 0) unread.push(`${[file, ...args].join(' ')}: ${stderr.trim().split('\n')[0] ?? ''}`)
    return code === 0 ? stdout : ''
  }
  const [addr, rules, neigh, legacy, nft, nftables] = await Promise.all([
    text('ip', '-j', 'addr', 'show'),
    text('ip', '-j', 'rule', 'show'),
    text('ip', '-j', 'neigh', 'show'),
    savedBy('legacy', text),
    savedBy('nft', text),
    run('nft', ['-j', 'list', 'ruleset']),
  ])
  return {
    backend,
    ...parseLinks(addr),
    policyRouting: hasPolicyRouting(rules),
    neighbours: parseNeighbours(neigh),
    tables: { legacy, nft },
    nftables: parseNftables(nftables.stdout, nft),
    sysctls: await readSysctls(),
    holders: await portHolders(listeners),
    bootLines: await readBootLines(),
    service: await serviceState(runDir),
    versions: await readVersions(),
    unread,
  }
}

const INTERFACES = '/etc/network/interfaces'

async function readBootLines(): Promise<BootLine[]> {
  const more = (await readdir(`${INTERFACES}.d`).catch(() => [])).sort()
  const files = [INTERFACES, ...more.map((name) => `${INTERFACES}.d/${name}`)]
  const all = await Promise.all(
    files.map(async (file) => parseBootLines(file, await readFile(file, 'utf8').catch(() => ''))),
  )
  return all.flat()
}

async function readSysctls(): Promise<Map<string, string>> {
  const names = await readdir('/proc/sys/net/ipv4/conf').catch(() => [])
  const paths = READ_SYSCTLS.flatMap((path) =>
    path.includes('*') ? names.map((name) => path.replace('*', name)) : [path],
  )
  const pairs = await Promise.all(
    paths.map(async (path) => {
      const value = await readFile(`/proc/sys/${path}`, 'utf8').catch(() => undefined)
      return value === undefined ? [] : [[path, value.trim()] as const]
    }),
  )
  return new Map(pairs.flat())
}

/** Whose sockets they are, as far as this user may know. */
async function portHolders(listeners: readonly Socket[]): Promise<PortHolder[]> {
  if (listeners.length === 0) return []
  const { processes } = await processesWith(new Set(listeners.map(({ inode }) => inode)))
  const all = await Promise.all(
    processes.map(async ({ pid, name, own }) => {
      const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
      const [unit] = groups.split('\n').flatMap((line) => /\/([\w@.\\:-]+\.service)$/.exec(line)?.[1] ?? [])
      const about = { name, pid: Number(pid), ...(unit === undefined ? {} : { unit }) }
      return listeners
        .filter(({ inode }) => own.includes(inode))
        .map(({ proto, port }) => ({ proto, port, ...about }))
    }),
  )
  return all.flat().sort((a, b) => a.port - b.port || a.pid - b.pid)
}

async function readVersions(): Promise<NodeFacts['versions']> {
  const version = async (file: string): Promise<string> => {
    const { code, stdout } = await run(file, ['--version'])
    return code === 0 ? (/v(\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] ?? stdout.trim()) : ''
  }
  const [iptables, ipset, conntrack] = await Promise.all(['iptables', 'ipset', 'conntrack'].map(version))
  return {
    node: process.versions.node,
    kernel: release(),
    iptables: iptables ?? '',
    ipset: ipset ?? '',
    conntrack: conntrack ?? '',
  }
}
