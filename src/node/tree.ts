/** The files of /etc/pve as one tree, or the reason why they cannot be believed. */
import { join } from 'node:path'
import { field, members, parseJson } from '../json.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import type { StaleFile, Tree } from '../read.ts'

/** Files cannot be believed at the moment. The installed rules must stay. */
export class Unreadable extends Error {}

/** Why a file has no text; `isOfFile`: the fault is this file's own (a folder, a mode), not the mount's. */
export interface Unread {
  reason: string
  isOfFile: boolean
}

/** By path below the pve directory. A missing file is not in it. Text of .fw files and settings is latin1 (bytes), other text UTF-8. */
export type PveFiles = ReadonlyMap<string, string | Unread>

export const VMLIST = '.vmlist'
export const MEMBERS = '.members'
export const CLUSTER_CONF = 'pvenat.conf'

/**
 * The tree of this node. Throws Unreadable. A file of a single guest that cannot be read costs that guest only: while `before`,
 * an earlier tree, is there, its last text stands.
 */
export function treeOf(files: PveFiles, pveDir: string, node: string, before?: Tree): Tree {
  const stale: StaleFile[] = []
  const fw = new Map<string, string>()
  const configs: Tree['guests'] = []
  const elsewhere: NonNullable<Tree['elsewhere']> = []
  const lastConfigs = new Map(before?.guests.map(({ vmid, config }) => [vmid, config]))
  const read = (file: string, last?: { text: string | undefined }): string | undefined => {
    const found = files.get(file)
    if (typeof found !== 'object') return found
    if (!found.isOfFile || !last) throw new Unreadable(found.reason)
    stale.push({ file, reason: found.reason })
    return last.text
  }
  const add = (file: string, last?: { text: string | undefined }): void => {
    const text = read(file, last)
    if (text !== undefined) fw.set(file, text)
  }
  add(CLUSTER_FW)
  add(hostFw(node))
  const list = parseVmlist(read(VMLIST), pveDir)
  for (const [vmid, guest] of list) {
    if (guest.node !== node) {
      const config = files.get(guestConfig(vmid, guest))
      if (typeof config === 'string') elsewhere.push({ vmid, ...guest, config })
      continue
    }
    add(guestFw(vmid), before && { text: before.fw.get(guestFw(vmid)) })
    const file = guestConfig(vmid, guest)
    // A guest that came with a config that cannot be read has no NIC yet.
    const config = read(file, before && { text: lastConfigs.get(vmid) ?? '' })
    if (config === undefined)
      throw new Unreadable(`${join(pveDir, file)} is missing although ${VMLIST} names it`)
    configs.push({ vmid, type: guest.type, config })
  }
  const cluster = files.get(MEMBERS)
  return {
    fw,
    guests: configs,
    elsewhere,
    owners: new Map([...list].map(([vmid, guest]) => [vmid, guest.node])),
    stale,
    // A node that stands alone has no list of nodes (pmxcfs, status.c).
    isClustered: typeof cluster !== 'string' || field(parseJson(cluster), 'nodelist') !== undefined,
  }
}

interface Owned {
  node: string
  type: 'qemu' | 'lxc'
}

export function guestConfig(vmid: number, { node, type }: Owned): string {
  return `nodes/${node}/${type === 'qemu' ? 'qemu-server' : 'lxc'}/${vmid}.conf`
}

/** All guests of the cluster. pmxcfs leaves `ids` out when there are none. Throws Unreadable. */
export function parseVmlist(text: string | undefined, pveDir: string): Map<number, Owned> {
  if (text === undefined) throw new Unreadable(`${join(pveDir, VMLIST)} is missing`)
  const list = parseJson(text)
  if (list === undefined) throw new Unreadable(`${VMLIST} is not valid JSON`)
  const ids = field(list, 'ids')
  const isEmpty = ids === undefined && typeof field(list, 'version') === 'number'
  if (!isEmpty && (typeof ids !== 'object' || ids === null))
    throw new Unreadable(`${VMLIST} holds no list of guests`)
  const guests = members(ids).flatMap(([vmid, guest]) => {
    const [node, type] = [field(guest, 'node'), field(guest, 'type')]
    return /^[1-9]\d{2,9}$/.test(vmid) && typeof node === 'string' && (type === 'qemu' || type === 'lxc')
      ? [[Number(vmid), { node, type }] as const]
      : []
  })
  return new Map(guests.sort(([a], [b]) => a - b))
}

/** Errors of the moment, which say nothing about a file. */
const OF_THE_MOMENT = ['EMFILE', 'ENFILE', 'ENOMEM']

/** The code of an error that kept a file from being read; throws Unreadable where it may well be there. */
export function codeOf(file: string, error: unknown): string {
  const { code = '' } = error as NodeJS.ErrnoException
  if (OF_THE_MOMENT.includes(code)) throw new Unreadable(`cannot read ${file}: ${code}`)
  return code
}
