import { requireLabMachine } from './machine.ts'
import { Namespace, type ExecOptions, type Result, type RunOptions } from './namespace.ts'
import { inetPlan, node1Plan, type GuestPlan, type InetPlan, type NodePlan } from './plan.ts'
import type { Running } from './running.ts'
import { askFrom, Flow, Stream, type Answer, type AskOptions, type Proto } from './talk.ts'
import { waitFor } from './wait.ts'
import { bridgeLines, guestLines, inetLines, plugLines, plumbing, uplinkLines } from './wiring.ts'

/** Whatever is left out of the node's plan is as in `node1Plan`. */
export interface LabOptions extends Partial<NodePlan> {
  inet?: Partial<InetPlan>
}

/** Builds the internet and one node with its guests; more nodes come with `lab.addNode`. */
export async function createLab({ inet, ...node }: LabOptions = {}): Promise<Lab> {
  requireLabMachine()
  const lab = new Lab()
  try {
    await lab.addInet({ ...inetPlan, ...inet })
    await lab.addNode({ ...node1Plan, ...node })
  } catch (error) {
    await lab.stop()
    throw error
  }
  return lab
}

/**
 * Namespaces by name: `inet`, each node (`pve`), each guest (`107`). Every method that takes a name of one acts
 * inside it, on its network, its /run, /etc and /var/lib, and never on the machine's.
 */
export class Lab {
  private readonly namespaces = new Map<string, Namespace>()

  /** The namespace of that name. */
  ns(name: string): Namespace {
    const found = this.namespaces.get(name)
    if (!found) throw new Error(`no ${name} in the lab, only ${[...this.namespaces.keys()].join(', ')}`)
    return found
  }

  /** Asks from `name` and tells who answered; see `Answer`. */
  ask(name: string, proto: Proto, endpoint: string, options?: AskOptions): Promise<Answer> {
    return askFrom(this.ns(name), proto, endpoint, options)
  }

  /** Has servers on these ports, on all addresses of now; asked again, it adds those that are missing. */
  async serve(name: string, proto: Proto, ...ports: number[]): Promise<void> {
    await Promise.all(ports.map((port) => this.ns(name).request('listen', { proto, port })))
  }

  /** Ends servers; streams that they hold go on. */
  async unserve(name: string, proto: Proto, ...ports: number[]): Promise<void> {
    await Promise.all(ports.map((port) => this.ns(name).request('unlisten', { proto, port })))
  }

  /** Opens a TCP connection that stays. */
  stream(name: string, endpoint: string, options?: AskOptions): Promise<Stream> {
    return Stream.open(this.ns(name), endpoint, options)
  }

  /** Opens a UDP socket that keeps its local port. */
  flow(name: string, endpoint: string, options?: AskOptions): Promise<Flow> {
    return Flow.open(this.ns(name), endpoint, options)
  }

  /** Runs a command to its end; throws if it fails, unless `check: false`. */
  exec(name: string, argv: readonly string[], options?: ExecOptions): Promise<Result> {
    return this.ns(name).exec(argv, options)
  }

  /** Starts a command that goes on until it is stopped, with the lab at the latest. */
  spawn(name: string, argv: readonly string[], options?: RunOptions): Running {
    return this.ns(name).spawn(argv, options)
  }

  /** Runs lines of `ip`, e.g. `link add dummy0 type dummy`. */
  ip(name: string, lines: readonly string[]): Promise<void> {
    return this.ns(name).ip(lines)
  }

  /** Reads a sysctl, e.g. `net/ipv4/ip_forward`; null if there is none. */
  async sysctl(name: string, key: string): Promise<string | null> {
    const [value] = await this.ns(name).read([`/proc/sys/${key}`])
    return value ?? null
  }

  async addInet(plan: InetPlan): Promise<void> {
    const inet = await this.addNamespace('inet')
    await inet.ip(inetLines(plan))
  }

  /** Adds a node, its uplinks to the internet and its guests. */
  async addNode(plan: NodePlan): Promise<void> {
    const names = new Set(plan.guests.map(({ vmid }) => String(vmid)))
    const [node] = await Promise.all([plan.name, ...names].map((name) => this.addNamespace(name)))
    if (!node) throw new Error('unreachable')
    const inet = this.ns('inet')
    await node.request('write', { files: { '/proc/sys/kernel/hostname': plan.hostname } })
    const ports = plan.uplinks.map((uplink) => ({ ...uplink, port: `${plan.name}-${uplink.name}` }))
    await node.ip([
      ...plan.bridges.flatMap((bridge) => bridgeLines(plan.name, bridge)),
      ...ports.flatMap((uplink) => uplinkLines(uplink, uplink.port, inet.pid)),
      ...plan.routes.map((route) => `route add ${route}`),
      ...plan.guests.flatMap((guest) => plugLines(guest, this.ns(String(guest.vmid)).pid)),
    ])
    await Promise.all([
      node.setSysctls({ ...nodeSysctls, 'net/ipv4/ip_forward': plan.ipForward ? 1 : 0 }),
      node.setSysctls(plan.bridgeNf === false ? {} : bridgeSysctls),
      node.setSysctls(withoutIpv6(plan.guests)),
      inet.ip(ports.map(({ port, segment }) => `link set ${port} master ${segment} up`)),
      ...plan.guests.map((guest) => this.ns(String(guest.vmid)).ip(guestLines(guest))),
    ])
    await Promise.all([settled(node), settled(inet)])
  }

  /** Plugs one more guest, or one more NIC of a guest, into a node. */
  async addGuest(nodeName: string, guest: GuestPlan): Promise<void> {
    const name = String(guest.vmid)
    const node = this.ns(nodeName)
    const inside = this.namespaces.get(name) ?? (await this.addNamespace(name))
    await node.ip(plugLines(guest, inside.pid))
    await Promise.all([node.setSysctls(withoutIpv6([guest])), inside.ip(guestLines(guest))])
    await settled(node)
  }

  /** Stops a guest as Proxmox VE does: its interfaces on the node go away, then the guest. */
  async removeGuest(nodeName: string, guest: GuestPlan): Promise<void> {
    const name = String(guest.vmid)
    await this.unplug(nodeName, guest)
    await this.ns(name).stop()
    this.namespaces.delete(name)
  }

  /** Moves a running guest as live migration does: its processes go on, its interfaces go here and come there. */
  async migrateGuest(from: string, to: string, guest: GuestPlan): Promise<void> {
    await this.unplug(from, guest)
    await this.addGuest(to, guest)
  }

  /** Ends everything that was started in the lab, and all its namespaces. */
  async stop(): Promise<void> {
    await Promise.all([...this.namespaces.values()].map((namespace) => namespace.stop()))
    this.namespaces.clear()
  }

  private async unplug(nodeName: string, guest: GuestPlan): Promise<void> {
    const [first, fwbr, fwln] = plumbing(guest)
    const gone = [first, fwln, fwbr].filter((device) => device !== undefined)
    await this.ns(nodeName).ip(gone.map((device) => `link del ${device}`))
  }

  private async addNamespace(name: string): Promise<Namespace> {
    if (this.namespaces.has(name)) throw new Error(`${name} is in the lab already`)
    const namespace = await Namespace.start(name)
    this.namespaces.set(name, namespace)
    await namespace.setSysctls(namespaceSysctls)
    await namespace.ip(['link set lo up'])
    return namespace
  }
}

/**
 * New addresses serve at once. No ICMP error is held back by the kernel's limits, or "refused" would turn to "nothing" after
 * a few questions; a mask cannot be empty in IPv6, and 127 is a type that nobody sends.
 */
const namespaceSysctls = {
  'net/ipv6/conf/default/accept_dad': 0,
  'net/ipv4/icmp_ratemask': 0,
  'net/ipv6/icmp/ratemask': '127',
}
/** What a Proxmox VE node has. */
const nodeSysctls = { 'net/ipv4/conf/all/rp_filter': 2 }
/** What pve-firewall sets, and proxmox-firewall leaves alone. */
const bridgeSysctls = {
  'net/bridge/bridge-nf-call-iptables': 1,
  'net/bridge/bridge-nf-call-ip6tables': 1,
}

function withoutIpv6(guests: readonly GuestPlan[]): Record<string, number> {
  const devices = guests.flatMap((guest) => plumbing(guest))
  return Object.fromEntries(devices.map((device) => [`net/ipv6/conf/${device}/disable_ipv6`, 1]))
}

/** Waits until every bridge port forwards. */
async function settled(namespace: Namespace): Promise<void> {
  const links = await namespace.request<string[]>('list', { path: '/sys/class/net' })
  const paths = links.map((link) => `/sys/class/net/${link}/brport/state`)
  const forwarding = '3'
  const isSettled = async () =>
    (await namespace.read(paths)).every((state) => state === null || state === forwarding)
  await waitFor(isSettled, { timeoutMs: 60_000, what: `the bridge ports of ${namespace.name} to forward` })
}
