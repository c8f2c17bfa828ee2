/** Nodes to measure on: bare ones, each with a TUN device that packets come by, and one with an internet and guests. */
import {
  createLab,
  HangingFolder,
  Pvenat,
  removeTree,
  type Backend,
  type GuestPlan,
  type Lab,
  type NodePlan,
} from '../lab/index.ts'
import type { Namespace } from '../lab/namespace.ts'
import {
  addressOf,
  EXTERNAL,
  forwardsOf,
  macOf,
  NODE,
  treeFiles,
  writeTree,
  type BenchForward,
} from './generate.ts'

/** Packets from the internet come by this device, from `198.51.100.7`. */
export const TUN = 'tun0'

const plan: NodePlan = {
  name: 'pve',
  hostname: NODE,
  uplinks: [],
  guests: [],
  ipForward: true,
  bridges: [
    { name: 'vmbr0', addresses: [`${EXTERNAL}/24`] },
    { name: 'vmbr1', addresses: ['10.10.0.1/16'] },
  ],
  routes: ['default via 203.0.113.1'],
}

/** Nodes without neighbours, by these names; packets to guests end in the bridge. */
export async function bareNodes(names: readonly string[]): Promise<Lab> {
  const [first = 'pve', ...others] = names
  const lab = await createLab({ ...plan, name: first })
  for (const name of others) await lab.addNode({ ...plan, name })
  await Promise.all(names.map((name) => prepareForPackets(lab.ns(name))))
  return lab
}

async function prepareForPackets(node: Namespace): Promise<void> {
  await node.ip([
    `tuntap add dev ${TUN} mode tun`,
    `link set ${TUN} up`,
    `route add 198.51.100.0/24 dev ${TUN}`,
    'link set vmbr1 arp off',
  ])
  await node.setSysctls({ 'net/netfilter/nf_conntrack_checksum': 0 })
}

/** A node with an internet, on which two of the guests are alive: those of the first two forwards. */
export async function liveNode(forwards: readonly BenchForward[]): Promise<Lab> {
  const vmids = new Set(forwards.slice(0, 2).map(({ vmid }) => vmid))
  return createLab({
    ...plan,
    uplinks: [{ name: 'eth0', segment: 'eth0', bridge: 'vmbr0' }],
    guests: [...vmids].map((vmid): GuestPlan => {
      return {
        vmid,
        kind: 'lxc',
        firewall: false,
        bridge: 'vmbr1',
        mac: macOf(vmid),
        address: `${addressOf(vmid)}/16`,
        gateway: '10.10.0.1',
      }
    }),
  })
}

/** A tree on disk with its command line. */
export interface Installed {
  pvenat: Pvenat
  tree: string
  remove: () => Promise<void>
}

/** `isShared`: the node sees the tree as a file system of its own, as /etc/pve is; of what is saved in the tree itself no event tells. */
export async function install(
  lab: Lab,
  node: string,
  backend: Backend,
  count: number,
  isShared = false,
): Promise<Installed> {
  const tree = await writeTree(treeFiles(forwardsOf(count)))
  await new Pvenat(lab, backend, tree, node, NODE).configure()
  const shared = isShared ? await HangingFolder.mount(lab, node, tree) : undefined
  const pvenat = new Pvenat(lab, backend, shared?.dir ?? tree, node, NODE)
  const remove = async (): Promise<void> => {
    await shared?.unmount()
    await removeTree(tree)
  }
  return { pvenat, tree, remove }
}
