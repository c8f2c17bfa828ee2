/** Reads /etc/pve: everything that the translation needs of it, or the reason why it cannot be trusted just now. */
import { lstat, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import type { Tree } from '../read.ts'

/** /etc/pve is not in a state to be believed. Whatever is in force must stay. */
export class Unreadable extends Error {}

/** Reads it all, or throws Unreadable. `local` is looked at before and after: a mount may go away in between. */
export async function readTree(pveDir: string, node: string): Promise<Tree> {
  await checkMounted(pveDir, node)
  const list = await readText(pveDir, '.vmlist', 'utf8')
  if (list === undefined) throw new Unreadable(`${join(pveDir, '.vmlist')} is missing`)
  const guests = parseVmlist(list)
  const own = [...guests].filter(([, guest]) => guest.node === node)
  const fw = new Map<string, string>()
  for (const file of [CLUSTER_FW, hostFw(node), ...own.map(([vmid]) => guestFw(vmid))]) {
    const text = await readText(pveDir, file, 'latin1')
    if (text !== undefined) fw.set(file, text)
  }
  const configs: Tree['guests'] = []
  for (const [vmid, { type }] of own)
    configs.push({ vmid, type, config: await readConfig(pveDir, node, vmid, type) })
  await checkMounted(pveDir, node)
  return { fw, guests: configs, owners: new Map([...guests].map(([vmid, guest]) => [vmid, guest.node])) }
}

/** An unmounted /etc/pve is an empty directory; upstream tests the same link (pve-cluster Cluster.pm). */
async function checkMounted(pveDir: string, node: string): Promise<void> {
  const local = await lstat(join(pveDir, 'local')).catch(() => undefined)
  if (!local?.isSymbolicLink())
    throw new Unreadable(`${pveDir} is not mounted (${pveDir}/local is no symbolic link)`)
  const folder = await lstat(join(pveDir, 'nodes', node)).catch(() => undefined)
  if (!folder?.isDirectory())
    throw new Unreadable(`${join(pveDir, 'nodes', node)} is missing; is '${node}' the name of this node?`)
}

/** One file in one read, opened and closed at once (an open file makes pmxcfs leave .fuse_hidden files). Undefined when missing. */
async function readText(pveDir: string, file: string, encoding: BufferEncoding): Promise<string | undefined> {
  try {
    return await readFile(join(pveDir, file), encoding)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new Unreadable(`cannot read ${join(pveDir, file)}: ${code}`)
  }
}

async function readConfig(pveDir: string, node: string, vmid: number, type: 'qemu' | 'lxc'): Promise<string> {
  const file = `nodes/${node}/${type === 'qemu' ? 'qemu-server' : 'lxc'}/${vmid}.conf`
  const text = await readText(pveDir, file, 'utf8')
  if (text === undefined) throw new Unreadable(`${join(pveDir, file)} is missing although .vmlist names it`)
  return text
}

function parseVmlist(text: string): Map<number, { node: string; type: 'qemu' | 'lxc' }> {
  let list: { ids?: Record<string, { node?: unknown; type?: unknown }> }
  try {
    list = JSON.parse(text) as typeof list
  } catch {
    throw new Unreadable('.vmlist is not valid JSON')
  }
  const ids = Object.entries(list.ids ?? {}).flatMap(([vmid, { node, type }]) =>
    /^[1-9]\d{2,9}$/.test(vmid) && typeof node === 'string' && (type === 'qemu' || type === 'lxc')
      ? [[Number(vmid), { node, type }] as const]
      : [],
  )
  return new Map(ids.sort(([a], [b]) => a - b))
}
