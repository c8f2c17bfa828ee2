/** Reads the facts for `explain` and `doctor`. It changes nothing; unreadable facts are reported, not guessed. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { release } from 'node:os'
import { FAMILIES, type Family } from '../address.ts'
import { READ_SYSCTLS, type BootLine, type NodeFacts, type PortHolder } from '../facts/node-facts.ts'
import { parseBootLines } from '../facts/interfaces.ts'
import { hasPolicyRouting, parseLinks, parseNeighbours } from '../facts/iproute.ts'
import { parseNftables } from '../facts/nftables.ts'
import type { Socket } from '../nat/sockets.ts'
import { saveProgram, type Backend } from '../facts/backend.ts'
import { hasTables } from './backend.ts'
import { run } from './exec.ts'
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
    saves('legacy', text),
    saves('nft', text),
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

type ReadText = (file: string, ...args: string[]) => Promise<string>

async function saves(backend: Backend, text: ReadText): Promise<Record<Family, string>> {
  const [v4 = '', v6 = ''] = await Promise.all(
    FAMILIES.map(async (family) => (hasTables(backend, family) ? text(saveProgram(backend, family)) : '')),
  )
  return { 4: v4, 6: v6 }
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

/** Whose sockets they are: by the links in /proc/PID/fd, for root only. */
async function portHolders(listeners: readonly Socket[]): Promise<PortHolder[]> {
  if (listeners.length === 0) return []
  const sockets = new Map(listeners.map((socket) => [`socket:[${socket.inode}]`, socket]))
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const all = await Promise.all(
    pids.map(async (pid) => {
      const fds = await readdir(`/proc/${pid}/fd`).catch(() => [])
      const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
      const own = links.flatMap((link) => sockets.get(link) ?? [])
      if (own.length === 0) return []
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
      const [unit] = groups.split('\n').flatMap((line) => /\/([\w@.\\:-]+\.service)$/.exec(line)?.[1] ?? [])
      return own.map(({ proto, port }) => ({
        proto,
        port,
        name,
        pid: Number(pid),
        ...(unit === undefined ? {} : { unit }),
      }))
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
