/** The node of the cases without a node: the tree in memory, a network that is written down. */
import { plainNetwork, plainWay } from '../network.ts'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { network as networkOf, parseCidr, parseIp, type Family, type Range } from '../../src/address.ts'
import type { Diagnostic } from '../../src/diagnostic.ts'
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { savedFilters } from '../../src/facts/saved-filters.ts'
import type { Socket } from '../../src/nat/sockets.ts'
import type { Way, Ways } from '../../src/uplinks.ts'
import { GRACE_SECONDS, listeningPorts, type NodePort } from '../../src/nat/node-ports.ts'
import { guestFw, hostFw } from '../../src/nat/view.ts'
import type { Network } from '../../src/network.ts'
import { readSettings } from '../../src/node/settings.ts'
import { compile } from '../../src/pipeline.ts'
import type { Look, Tree } from '../../src/read.ts'
import { fixture } from '../fw/context.ts'
import { ledgerAfter } from '../ledger.ts'
import { baseTree, casesDir, type Case } from './case.ts'

export const NODE = 'pve1'
const CONFIG = 'pvenat.conf'
const NOW = 1_760_000_000

export interface World {
  look: Look
  /** What is wrong in the settings. */
  settingsDiagnostics: Diagnostic[]
  /** Texts that diagnostics point into. */
  sources: Map<string, string>
}

const base = new Map(
  readdirSync(baseTree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [path.slice(baseTree.length + 1), readFileSync(path, 'latin1')] as const),
)

/** The world of a case, and before it, if that matters, the world in which its older files were in force. */
export async function worldOf(one: Case): Promise<World> {
  const world = await lookAt(one, one.files)
  if (one.before.size > 0) {
    const { look } = await lookAt(one, new Map([...one.files, ...one.before]))
    world.look.ledger = ledgerAfter(compile(look))
  }
  return world
}

async function lookAt(
  { network, listening, filter }: Case,
  files: ReadonlyMap<string, string>,
): Promise<World> {
  const all = new Map([...base, ...files])
  const { settings, diagnostics } = await settingsOf(all.get(CONFIG))
  const tree = treeOf(all)
  const look: Look = {
    node: NODE,
    tree,
    settings,
    now: NOW,
    network: readPlan(network ?? readFileSync(`${casesDir}/network`, 'utf8')),
    hasProxmoxFirewall: true,
    services: fixture('services'),
    protocols: fixture('protocols'),
    listeners: readListening(listening),
    nodePorts: nodePortsOf(listening),
    filters: filtersOf(filter),
  }
  return { look, settingsDiagnostics: diagnostics, sources: new Map([...all, ...tree.fw]) }
}

/** Rules of others in the table filter, of either family. */
function filtersOf(filter: string): Look['filters'] & object {
  const text = `*filter\n:FORWARD ACCEPT [0:0]\n${filter}COMMIT\n`
  const of = (family: Family) => ({ ...NO_NFTABLES, chains: savedFilters(text, family, 'legacy') })
  return { 4: of(4), 6: NO_NFTABLES }
}

function treeOf(files: ReadonlyMap<string, string>): Tree {
  const { ids } = JSON.parse(files.get('.vmlist') ?? '') as {
    ids: Record<string, { node: string; type: 'qemu' | 'lxc' }>
  }
  const all = Object.entries(ids).map(([vmid, guest]) => ({ vmid: Number(vmid), ...guest }))
  const own = all.filter(({ node }) => node === NODE)
  const names = ['firewall/cluster.fw', hostFw(NODE), ...own.map(({ vmid }) => guestFw(vmid))]
  return {
    fw: new Map(names.map((name) => [name, files.get(name) ?? ''])),
    guests: own.map(({ vmid, type }) => {
      const folder = type === 'qemu' ? 'qemu-server' : 'lxc'
      return { vmid, type, config: files.get(`nodes/${NODE}/${folder}/${vmid}.conf`) ?? '' }
    }),
    isClustered: !files.has('.members'),
    owners: new Map(all.map(({ vmid, node }) => [vmid, node])),
  }
}

/** The settings' reader wants a file; diagnostics then name it as the case does. */
async function settingsOf(text: string | undefined): ReturnType<typeof readSettings> {
  if (text === undefined) return readSettings([])
  const dir = mkdtempSync(join(tmpdir(), 'pvenat-case-'))
  const path = join(dir, CONFIG)
  writeFileSync(path, text, 'latin1')
  const read = await readSettings([path])
  rmSync(dir, { recursive: true })
  const diagnostics = read.diagnostics.map((one) => ({ ...one, place: { ...one.place, file: CONFIG } }))
  return { ...read, diagnostics }
}

/** Ports of services that went have ten minutes left. */
function nodePortsOf(text: string): NodePort[] {
  const lines = text.split('\n').filter((line) => line.endsWith(' gone'))
  const gone = listeningPorts(readListening(lines.join('\n').replace(/ gone$/gm, '')))
  return [
    ...listeningPorts(readListening(text)),
    ...[...text.matchAll(/^(\w+) (\S+)$/gm)].map(([, proto = '', holder = '']) => ({ proto, holder })),
    ...gone.map((port) => ({ ...port, until: NOW + GRACE_SECONDS })),
  ]
}

function readListening(text: string): Socket[] {
  const all = text.trim().matchAll(/^(tcp|udp) (\S+):(\d+) (\S+)$/gm)
  return [...all].map(([, proto, address = '', port, holder = '']) => {
    const socket = { proto: proto as 'tcp' | 'udp', port: Number(port), inode: '', holder }
    if (address === '0.0.0.0') return { ...socket, family: 4 }
    if (address === '[::]') return { ...socket, family: 6 }
    const bound = parseIp(address)
    return bound ? { ...socket, address: bound } : socket
  })
}

/** Lines `external NAME ADDRESS/LENGTH... [via GATEWAY|nothing...] [mtu N]`, `internal BRIDGE ... [mtu N]`, `stranger BRIDGE ...`, `other NAME ...`, `altname NAME INTERFACE` and `route NETWORK INTERFACE`. */
function readPlan(text: string): Network {
  const result = plainNetwork([], [])
  const names = new Map<string, string>()
  for (const line of text.trim().split('\n')) {
    const [kind, name = '', ...words] = line.split(' ')
    if (kind === 'altname') {
      names.set(name, words[0] ?? '')
      continue
    }
    if (kind === 'route') {
      const to = parseCidr(name)
      const [dev = ''] = words
      const isOutward = result.external.some((one) => one.name === dev)
      if (to && isOutward) result.outward = [...result.outward, to]
      if (to && !isOutward) result.inward.unshift({ to, dev })
      continue
    }
    names.set(name, name)
    const at = words.indexOf('mtu')
    const mtu = at < 0 ? {} : { mtu: Number(words.splice(at, 2)[1]) }
    const via = words.indexOf('via')
    const all = words.slice(0, via < 0 ? undefined : via).map(readAddress)
    const networks = all.map((one) => ({ bridge: name, network: one.network, address: one.ip, ...mtu }))
    if (kind === 'external') {
      const families = ([4, 6] as Family[]).filter((family) => all.some(({ ip }) => ip.family === family))
      const addresses = all.map(({ ip }) => ip)
      const networks = all.map((one) => one.network)
      const ways = via < 0 ? undefined : readWays(words.slice(via + 1), families)
      const uplink = ways && { index: result.external.length, ways, ...mtu }
      result.external.push({ name, families, addresses, networks, ...(uplink ? { uplink } : {}) })
    } else if (kind === 'internal') result.internal.push(...networks)
    else if (kind === 'stranger') result.strangers.push(...networks)
    result.own.push(...all.map(({ ip }) => ({ dev: name, ip })))
    if (kind !== 'external') result.inward.push(...all.map((one) => ({ dev: name, to: one.network })))
  }
  return { ...plainWay(result), links: names, nextHops: gatewaysOf(result) }
}

function gatewaysOf({ external }: Network): Range[] {
  const ways = external.flatMap(({ uplink }) => Object.values(uplink?.ways ?? {}))
  return ways.flatMap(({ gateway = '' }) => parseIp(gateway) ?? [])
}

/** A gateway of each family, or `nothing`, or `down`. */
function readWays(words: readonly string[], families: readonly Family[]): Ways {
  const way = (word = ''): Way =>
    word === 'nothing' ? {} : word === 'down' ? { down: true } : { gateway: word }
  return Object.fromEntries(families.map((family, i) => [family, way(words[i])]))
}

function readAddress(text: string): { ip: Range; network: Range } {
  const [address = '', length] = text.split('/')
  const ip = parseIp(address)
  if (!ip) throw new Error(`not an address: ${text}`)
  return { ip, network: networkOf(ip.family, ip.lo, Number(length)) }
}
