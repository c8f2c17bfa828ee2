/** Reads /etc/pve: everything that the translation needs of it, or the reason why it cannot be trusted just now. */
import { constants } from 'node:fs'
import { lstat, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { field, members, parseJson } from '../json.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import type { StaleFile, Tree } from '../read.ts'
import { EVERY_TIME, type Files } from './files.ts'
import { systemReason } from './system-error.ts'

/** /etc/pve is not in a state to be believed. Whatever is in force must stay. */
export class Unreadable extends Error {}

/**
 * Reads it all, or throws Unreadable. `local` is looked at before and after: a mount may go away in between. A file of a
 * single guest that cannot be read costs that guest only: while `before`, an earlier tree, is there, what it said last stands.
 * What `files` trusts is not read again.
 */
export async function readTree(
  pveDir: string,
  node: string,
  before?: Tree,
  files: Files = EVERY_TIME,
): Promise<Tree> {
  await checkMounted(pveDir, node)
  const list = await readText(pveDir, '.vmlist', 'utf8')
  if (list === undefined) throw new Unreadable(`${join(pveDir, '.vmlist')} is missing`)
  const tree = await files.all('tree', list, (some) => readGuests(pveDir, node, list, before, some))
  await checkMounted(pveDir, node)
  return tree
}

async function readGuests(
  pveDir: string,
  node: string,
  list: string,
  before: Tree | undefined,
  files: Files,
): Promise<Tree> {
  const guests = parseVmlist(list)
  const stale: StaleFile[] = []
  const fw = new Map<string, string>()
  const add = (file: string, text: string | undefined): void => {
    if (text !== undefined) fw.set(file, text)
  }
  const read = (file: string, encoding: BufferEncoding): Promise<string | undefined> =>
    files.read(join(pveDir, file), () => readOwn(pveDir, file, encoding))
  for (const file of [CLUSTER_FW, hostFw(node)]) add(file, await read(file, 'latin1'))
  const configs: Tree['guests'] = []
  const lastConfigs = new Map(before?.guests.map(({ vmid, config }) => [vmid, config]))
  for (const [vmid, { type, node: owner }] of guests) {
    if (owner !== node) continue
    const file = guestFw(vmid)
    const last = before && { text: before.fw.get(file) }
    add(file, await orLast(() => read(file, 'latin1'), file, last, stale))
    const configFile = `nodes/${node}/${type === 'qemu' ? 'qemu-server' : 'lxc'}/${vmid}.conf`
    // A guest that came with a config nobody can read has no NIC yet.
    const lastConfig = before && { text: lastConfigs.get(vmid) ?? '' }
    const config = await orLast(() => read(configFile, 'utf8'), configFile, lastConfig, stale)
    if (config === undefined)
      throw new Unreadable(`${join(pveDir, configFile)} is missing although .vmlist names it`)
    configs.push({ vmid, type, config })
  }
  const owners = new Map([...guests].map(([vmid, guest]) => [vmid, guest.node]))
  return { fw, guests: configs, owners, stale }
}

/** An unmounted /etc/pve is an empty directory; upstream tests the same link (pve-cluster Cluster.pm). */
export async function checkMounted(pveDir: string, node: string): Promise<void> {
  const local = await lstat(join(pveDir, 'local')).catch((error: unknown) => {
    const code = codeOf(pveDir, error)
    if (code !== 'ENOENT') throw new Unreadable(`cannot read ${pveDir}: ${systemReason(error)}`)
    return undefined
  })
  if (!local && !(await lstat(pveDir).catch(() => undefined)))
    throw new Unreadable(`${pveDir} is not mounted: there is no such folder; is this a node of Proxmox VE?`)
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
    return missing(pveDir, file, error)
  }
}

/** What says nothing about a file. */
const OF_THE_MOMENT = ['EMFILE', 'ENFILE', 'ENOMEM']

/** The code of what keeps a file from being read; throws Unreadable where it may well be there. */
export function codeOf(file: string, error: unknown): string {
  const { code = '' } = error as NodeJS.ErrnoException
  if (OF_THE_MOMENT.includes(code)) throw new Unreadable(`cannot read ${file}: ${code}`)
  return code
}

/** pmxcfs keeps no file above one MiB. */
const MAX_FILE_BYTES = 4 * 2 ** 20

/** As `readText`, but only a plain file of a size that pmxcfs can have: a link might lead to anything, a pipe never end. */
async function readOwn(pveDir: string, file: string, encoding: BufferEncoding): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await open(join(pveDir, file), flags).catch((error: unknown) => missing(pveDir, file, error))
  if (!handle) return undefined
  try {
    const status = await handle.stat()
    const odd = status.isDirectory() ? 'it is a folder' : status.isFile() ? undefined : 'it is no plain file'
    const reason = odd ?? (status.size > MAX_FILE_BYTES ? 'it is too large' : undefined)
    if (reason !== undefined) throw new FileUnreadable(`cannot read ${join(pveDir, file)}: ${reason}`)
    return await handle.readFile(encoding)
  } catch (error) {
    return missing(pveDir, file, error)
  } finally {
    await handle.close()
  }
}

/** What is wrong with one file, not with the mount: those are the codes for a link, a folder, or a mode. */
class FileUnreadable extends Unreadable {}

const OF_THE_FILE: readonly (string | undefined)[] = ['ELOOP', 'EISDIR', 'EACCES', 'EPERM']

function missing(pveDir: string, file: string, error: unknown): undefined {
  if (error instanceof Unreadable) throw error
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return undefined
  const message = `cannot read ${join(pveDir, file)}: ${systemReason(error)}`
  throw OF_THE_FILE.includes(code) ? new FileUnreadable(message) : new Unreadable(message)
}

/** What a file says, or said last if there is such a time. */
async function orLast<T>(
  read: () => Promise<T>,
  file: string,
  last: { text: T } | undefined,
  stale: StaleFile[],
): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof FileUnreadable) || !last) throw error
    stale.push({ file, reason: error.message })
    return last.text
  }
}

function parseVmlist(text: string): Map<number, { node: string; type: 'qemu' | 'lxc' }> {
  const list = parseJson(text)
  if (list === undefined) throw new Unreadable('.vmlist is not valid JSON')
  const ids = field(list, 'ids')
  if (typeof ids !== 'object' || ids === null) throw new Unreadable('.vmlist holds no list of guests')
  const guests = members(ids).flatMap(([vmid, guest]) => {
    const [node, type] = [field(guest, 'node'), field(guest, 'type')]
    return /^[1-9]\d{2,9}$/.test(vmid) && typeof node === 'string' && (type === 'qemu' || type === 'lxc')
      ? [[Number(vmid), { node, type }] as const]
      : []
  })
  return new Map(guests.sort(([a], [b]) => a - b))
}
