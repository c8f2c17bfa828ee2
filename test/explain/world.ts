/** The node of the tracer as explain sees it: everything that is wanted is in force, every guest runs and has this node as its gateway. */
import { NO_NFTABLES } from '../../src/facts/nftables.ts'
import { contains, parseCidr, parseIp, sameRange, type Range } from '../../src/address.ts'
import type { World } from '../../src/explain/world.ts'
import type { NodeFacts } from '../../src/facts/node-facts.ts'
import { compile, type Outcome } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import type { Installed, SavedTables } from '../../src/ruleset/installed.ts'
import { HOOKS, type Ruleset } from '../../src/ruleset/ruleset.ts'
import { chainText } from '../../src/ruleset/restore-text.ts'
import { bare, configOf, GUESTS, INTERFACES, lookAt, nodeAddress, type WorldGuest } from '../tracer/world.ts'

const range = (text: string): Range => parseCidr(text) as Range

export const FACTS: NodeFacts = {
  backend: 'legacy',
  sysctls: new Map([
    ['net/ipv4/ip_forward', '1'],
    ['net/ipv6/conf/all/forwarding', '1'],
    ['net/bridge/bridge-nf-call-iptables', '1'],
    ['net/bridge/bridge-nf-call-ip6tables', '1'],
    ['net/netfilter/nf_conntrack_count', '10'],
    ['net/netfilter/nf_conntrack_max', '1000'],
    ['net/ipv4/conf/all/rp_filter', '2'],
  ]),
  links: [
    ...[...INTERFACES.map(({ name }) => name), 'pvenat0', 'pvenat1'].map((name) => ({ name, up: true })),
    ...GUESTS.flatMap(({ vmid, kind, firewall, bridge }) => [
      {
        name: `${kind === 'qemu' ? 'tap' : 'veth'}${vmid}i0`,
        up: true,
        master: firewall ? `fwbr${vmid}i0` : bridge,
      },
      ...(firewall ? [{ name: `fwbr${vmid}i0`, up: true }] : []),
    ]),
  ],
  addresses: INTERFACES.flatMap(({ name, addresses }) =>
    addresses.map((own) => ({ dev: name, ip: parseIp(bare(own)) as Range })),
  ),
  policyRouting: false,
  neighbours: [],
  tables: { legacy: { 4: '', 6: '' }, nft: { 4: '', 6: '' } },
  nftables: NO_NFTABLES,
  holders: [],
  bootLines: [],
  service: { running: true, enabled: 'enabled' },
  versions: {
    node: '20.19.0',
    kernel: '6.8.12-1-pve',
    iptables: '1.8.11',
    ipset: '7.22',
    conntrack: '1.4.8',
  },
  unread: [],
}

/** The table main, the narrowest first. */
const ROUTES = [
  { to: range('169.254.77.128/25'), dev: 'pvenat0' },
  { to: range('fd77:0:0:1::/64'), dev: 'pvenat0' },
  ...INTERFACES.flatMap(({ name, addresses }) => addresses.map((own) => ({ to: range(own), dev: name }))),
]

/** What the kernel answers to `ip route get TO … mark MARK`: by the table main, else by the table of the marked uplink, else by vmbr0. */
export function routedBy({ routing }: Ruleset): World['askWay'] {
  return (question) => {
    const to = parseIp(question.split(' ')[0] ?? '') as Range
    if (FACTS.addresses.some(({ ip }) => sameRange(ip, to))) return { dev: 'lo' }
    const found = ROUTES.find((route) => contains(route.to, to))
    if (found) return { dev: found.dev }
    const [, mark] = / mark (\S+)/.exec(question) ?? []
    const { rules, routes } = routing[to.family]
    const [rule = ''] = rules.filter((line) => line.includes(`fwmark ${mark}/`) && !line.includes('suppress'))
    const [, table] = / table (\d+)/.exec(rule) ?? []
    const by =
      table === undefined ? 'default dev vmbr0' : routes.find((line) => line.includes(` table ${table} `))
    return { dev: / dev (\S+)/.exec(by ?? '')?.[1] }
  }
}

/** A guest's config with its gateways. */
export function configWithGateways(guest: WorldGuest): string {
  const v4 = guest.bridge === 'vmbr0' ? '203.0.113.1' : nodeAddress(guest.bridge, 4)
  const v6 = guest.addresses[1] === undefined ? undefined : nodeAddress(guest.bridge, 6)
  return configOf(guest)
    .replace(/ip=[^,\n]+/, `$&,gw=${v4}`)
    .replace(/ip6=[^,\n]+/, `$&,gw6=${v6}`)
}

/** The look at a tree, the guests' gateways filled in. */
export function lookWithGateways(files: ReadonlyMap<string, string>): Look {
  const look = lookAt(files)
  const guests = GUESTS.map((guest) => ({
    vmid: guest.vmid,
    type: guest.kind,
    config: configWithGateways(guest),
  }))
  return { ...look, tree: { ...look.tree, guests } }
}

/** What the kernel shows when all of a ruleset is there. */
export function allInForce({ chains, sets, routing }: Ruleset): Installed {
  const saved = (family: 4 | 6): SavedTables => {
    const own = new Map(
      chains[family].map((chain) => [
        `${chain.table} ${chain.name}`,
        chainText(chain, family).map((rule) => ({ ...rule, packets: 0, bytes: 0 })),
      ]),
    )
    const hooks = HOOKS.filter(({ table, to }) => own.has(`${table} ${to}`))
    return {
      own,
      hooks: new Map(hooks.map(({ table, from, to }) => [`${table} ${from} ${to}`, [0]])),
      strays: new Map(),
      lengths: new Map(),
      drops: false,
    }
  }
  return {
    chains: { 4: saved(4), 6: saved(6) },
    sets: new Map(sets.map((set) => [set.name, { ...set, maxelem: 64 }])),
    routing,
  }
}

export function worldAt(files: ReadonlyMap<string, string>, facts: Partial<NodeFacts> = {}): World & Outcome {
  const look = lookWithGateways(files)
  const outcome = compile(look)
  return {
    ...outcome,
    installed: allInForce(outcome.ruleset),
    askWay: routedBy(outcome.ruleset),
    facts: { ...FACTS, ...facts },
    configs: new Map(look.tree.guests.map(({ vmid, config }) => [vmid, config])),
  }
}
