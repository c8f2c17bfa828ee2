/** Three nodes of a cluster beside each other, and the tree that pmxcfs shows each of them. */
import { mkdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createLab, type Lab } from './lab.ts'
import type { GuestPlan, NodePlan } from './plan.ts'
import { copyTree, removeTree, saveLikeGui } from './tree.ts'

export interface Member {
  name: string
  address: string
  address6: string
  /** The guest that stays. */
  resident: number
}

const clusterTree = fileURLToPath(new URL('../../fixtures/cluster', import.meta.url))

/** The nodes that `fixtures/cluster` is the /etc/pve of; its node pve4 is off. */
export const members: readonly [Member, Member, Member] = [
  { name: 'pve1', address: '203.0.113.2', address6: '2001:db8:113::2', resident: 101 },
  { name: 'pve2', address: '203.0.113.3', address6: '2001:db8:113::3', resident: 102 },
  { name: 'pve3', address: '203.0.113.4', address6: '2001:db8:113::4', resident: 103 },
]

/** A guest of `fixtures/cluster`. Its MAC holds its number. */
export function clusterGuest(vmid: number, kind: 'qemu' | 'lxc', firewall = false): GuestPlan {
  const mac = `BC:24:11:00:${String(vmid).padStart(4, '0').replace(/..$/, ':$&')}`
  return {
    vmid,
    kind,
    firewall,
    mac,
    bridge: 'vmbr1',
    address: `10.10.10.${vmid}/24`,
    gateway: '10.10.10.1',
    address6: `fd10::${vmid}/64`,
    gateway6: 'fd10::1',
  }
}

/** The nodes on one segment, each with its resident; the internal network is the same on all, as in a simple zone. */
export async function createClusterLab(): Promise<Lab> {
  const [first, ...others] = members.map(planOf)
  const lab = await createLab(first)
  try {
    for (const plan of others) await lab.addNode(plan)
  } catch (error) {
    await lab.stop()
    throw error
  }
  return lab
}

function planOf({ name, address, address6, resident }: Member): NodePlan {
  return {
    name,
    hostname: name,
    ipForward: false,
    uplinks: [{ name: 'eth0', segment: 'eth0', bridge: 'vmbr0' }],
    bridges: [
      { name: 'vmbr0', addresses: [`${address}/24`, `${address6}/64`] },
      { name: 'vmbr1', addresses: ['10.10.10.1/24', 'fd10::1/64'] },
    ],
    routes: ['default via 203.0.113.1', 'default via 2001:db8:113::1'],
    guests: [clusterGuest(resident, resident === 102 ? 'qemu' : 'lxc')],
  }
}

/** One tree that all nodes see, each with its own `local`. */
export class ClusterTree {
  private version = 100

  private constructor(
    readonly dir: string,
    private readonly views: string,
  ) {}

  static async create(): Promise<ClusterTree> {
    const dir = await copyTree(clusterTree)
    const views = `${dir}-views`
    for (const { name } of members) {
      await mkdir(join(views, name), { recursive: true })
      await symlink(`nodes/${name}`, join(views, name, 'local'))
      for (const shared of ['.vmlist', 'firewall', 'nodes', 'pvenat.conf'])
        await symlink(join(dir, shared), join(views, name, shared))
    }
    return new ClusterTree(dir, views)
  }

  /** What is /etc/pve for this node. */
  of(node: string): string {
    return join(this.views, node)
  }

  /** A QEMU guest's config moves; `.vmlist` forgets the guest and, after the gap, has it again, as pmxcfs does it. */
  async moveConfig(vmid: number, from: string, to: string, gapMs = 0): Promise<void> {
    const config = (node: string) => join(this.dir, 'nodes', node, 'qemu-server', `${vmid}.conf`)
    await rename(config(from), config(to))
    await this.forget(vmid, () => sleep(gapMs), { node: to, type: 'qemu', version: (this.version += 1) })
  }

  /** `.vmlist` has nothing of a guest while `meanwhile` lasts; then as before, or something new. */
  async forget(vmid: number, meanwhile: () => Promise<void>, entry?: object): Promise<void> {
    const { [vmid]: old, ...others } = await this.readOwners()
    await this.writeOwners(others)
    await meanwhile()
    await this.writeOwners({ ...others, [vmid]: entry ?? old })
  }

  async remove(): Promise<void> {
    await removeTree(this.dir)
    await rm(this.views, { recursive: true, force: true })
  }

  private async readOwners(): Promise<Record<string, unknown>> {
    const text = await readFile(join(this.dir, '.vmlist'), 'utf8')
    return (JSON.parse(text) as { ids: Record<string, unknown> }).ids
  }

  private async writeOwners(ids: Record<string, unknown>): Promise<void> {
    const version = (this.version += 1)
    await saveLikeGui(this.dir, '.vmlist', JSON.stringify({ version, ids }))
  }
}
