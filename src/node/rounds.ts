/** Reads /etc/pve in rounds and reports changes. A file that does not answer in time is unreadable and delays no other. */
import { constants, lstat, type Stats } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { shortHash } from '../hash.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import { Late, makeDeadlines, type AskInTime } from './deadlines.ts'
import { systemReason } from './system-error.ts'
import { makeFiles, stampOf, type Files } from './files.ts'
import type { StampAll } from './stat-thread.ts'
import {
  CLUSTER_CONF,
  codeOf,
  guestConfig,
  MEMBERS,
  parseVmlist,
  Unreadable,
  VMLIST,
  type PveFiles,
  type Unread,
} from './tree.ts'

/** pmxcfs answers within a few milliseconds, or hangs: time limits for a single file, and for the mount. */
const [FILE_LATE_MS, MOUNT_LATE_MS] = [500, 1000]
/** Files that are asked for side by side: fewer than the threads of the process (UV_THREADPOOL_SIZE), or one file would wait for others. */
export const READER_LANES = 32
const COMMAND_LANES = 3
/** A new text must read the same twice: a file may be half-written. */
const CONFIRM_MS = 20
/**
 * The same for the first of two steps: a file is truncated, then written (Proxmox VE itself deletes a file rather than leave it
 * empty); a migration takes a guest out of .vmlist, then puts it back.
 */
const CONFIRM_HALF_MS = 500
/** Of a file that is written all the time the last text counts. */
const MAX_ROUNDS = 10
/** pmxcfs keeps no file above one MiB. */
const MAX_FILE_BYTES = 4 * 2 ** 20
/** `.vmlist` tells of changed guest configs (their versions), inotify of local edits; this interval is for changes that both missed. */
const CONFIGS_MS = 10_000

export const SDN_FILES = {
  running: 'sdn/.running-config',
  ipam: 'sdn/pve-ipam-state.json',
  oldIpam: 'priv/ipam.db',
  macCache: 'sdn/mac-cache.json',
}

/** A file's state in a change; null for a file that is gone. */
export type FileChange = [path: string, state: string | Unread | null]

export interface PveChange {
  files: FileChange[]
  /** Why nothing of /etc/pve can be believed just now. */
  unreadable?: string
  /** Without quorum pmxcfs takes all write bits away. */
  hasQuorum: boolean
}

/** Files that a round asked for, and their stamps as `StampAll` has them. */
interface Asked {
  paths: readonly string[]
  stamps: string
}

export class Rounds {
  private readonly fileInTime: AskInTime
  private readonly mountInTime: AskInTime
  private readonly files: Files
  /** For all that the round asks about; empty where that takes too long, and then each file is asked about by itself. */
  private readonly askStamps: StampAll
  private stamps = new Map<string, string>()
  /** Apart, since configs are not asked for in each round. */
  private readonly configs: Files
  /** Hashes of the states that were told, and that the last round found; '' for a missing file. */
  private told = new Map<string, string>()
  private last = this.told
  /** States that were read and not told yet. */
  private readonly fresh = new Map<string, string | Unread>()
  private lastList: string | undefined
  /** The guests of a list. */
  private listed: { list?: string; guests: { vmid: number; config: string; isHere: boolean }[] } = {
    guests: [],
  }
  /** How many files a round without a hint asks for; the pause between two rounds depends on it. */
  asked = 0
  private configsAt = -Infinity
  /** Of the last round: no file had to be read. */
  private isSettled = false
  /** Of the last settled round without configs: while its stamps stay, a round finds the same as the one before. */
  private settled: Asked | undefined

  constructor(
    private readonly pveDir: string,
    private readonly node: string,
    onAnswer: () => void,
    private readonly lanes = COMMAND_LANES,
    stampAll: StampAll = () => Promise.resolve(''),
  ) {
    this.fileInTime = makeDeadlines(FILE_LATE_MS, onAnswer)
    this.mountInTime = makeDeadlines(MOUNT_LATE_MS, onAnswer)
    const allInTime = makeDeadlines(FILE_LATE_MS, () => undefined)
    this.askStamps = (paths) => allInTime('', () => stampAll(paths)).catch(() => '')
    const askStamp = (path: string): Promise<string | undefined> | string =>
      this.stamps.get(path) || this.fileInTime(path, () => statOf(path)).then(stampOf, () => undefined)
    this.files = makeFiles(undefined, askStamp)
    this.configs = makeFiles(undefined, askStamp)
  }

  /** The changes since the last call. `isHinted`: any file may have changed. */
  async next(isHinted: boolean): Promise<PveChange> {
    try {
      const hasQuorum = await this.readUntilSteady(isHinted)
      const { told, last, fresh } = this
      const changed = [...last].filter(([path, hash]) => hash !== (told.get(path) ?? ''))
      const gone = [...told.keys()].filter((path) => !last.has(path))
      const files = [...changed.map(([path]) => path), ...gone].map((path): FileChange => {
        const state = last.get(path) ? fresh.get(path) : null
        if (state === undefined) throw new Error(`${path} changed without being read`)
        return [path, state]
      })
      this.told = last
      fresh.clear()
      return { files, hasQuorum }
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      return { files: [], unreadable: error.message, hasQuorum: true }
    }
  }

  private async readUntilSteady(isHinted: boolean): Promise<boolean> {
    const { told } = this
    for (let rounds = 1; ; rounds++) {
      const { round, hasQuorum } = await this.readAll(isHinted)
      const isSteady = isSame(round, told) || (rounds > 1 && isSame(round, this.last))
      this.last = round
      if (isSteady || rounds === MAX_ROUNDS) return hasQuorum
      await delay(this.isHalf(round) ? CONFIRM_HALF_MS : CONFIRM_MS)
    }
  }

  /** Whether a file has become empty, or a guest of this node is no longer in the list. */
  private isHalf(round: ReadonlyMap<string, string>): boolean {
    const { told, listed } = this
    const listedFiles = new Set(listed.guests.map(({ vmid }) => guestFw(vmid)))
    return [...told].some(([path, hash]) => {
      const isGone = GUEST_FW.test(path) && !listedFiles.has(path)
      return isGone || (round.get(path) === EMPTY && hash !== EMPTY)
    })
  }

  private async readAll(isHinted: boolean): Promise<{ round: Map<string, string>; hasQuorum: boolean }> {
    const hasQuorum = await this.checkMounted()
    const list = await this.readList()
    const isDue = isHinted || list !== this.lastList || performance.now() - this.configsAt > CONFIGS_MS
    const { settled } = this
    if (!isDue && settled && (await this.askStamps(settled.paths)) === settled.stamps)
      return { round: this.last, hasQuorum }
    if (list === undefined || list !== this.listed.list) {
      const guests = [...parseVmlist(list, this.pveDir)].map(([vmid, guest]) => ({
        vmid,
        config: guestConfig(vmid, guest),
        isHere: guest.node === this.node,
      }))
      this.listed = { list: list ?? '', guests }
    }
    const round = new Map([[VMLIST, this.note(VMLIST, list)]])
    this.files.next()
    if (isDue) this.configs.next()
    const asked = await this.refreshAll(this.filesOf(isDue, round), round)
    // Once more: a mount may go away in between.
    const result = { round, hasQuorum: isSame(round, this.told) ? hasQuorum : await this.checkMounted() }
    if (isDue) [this.lastList, this.configsAt] = [list, performance.now()]
    if (!this.isSettled || !isDue) this.settled = this.isSettled ? asked : undefined
    return result
  }

  /** The files to ask for; configs that need not be asked for are in `round` already. */
  private filesOf(areConfigsDue: boolean, round: Map<string, string>): Map<string, Files> {
    const { node, files, configs, last } = this
    const { guests } = this.listed
    const common = [MEMBERS, CLUSTER_CONF, CLUSTER_FW, hostFw(node), ...Object.values(SDN_FILES)]
    const wanted = new Map(common.map((path) => [path, files]))
    for (const { vmid, config, isHere } of guests) {
      // Of other nodes' guests only the NICs matter.
      if (isHere) wanted.set(guestFw(vmid), files)
      const known = areConfigsDue ? undefined : last.get(config)
      if (known === undefined) wanted.set(config, configs)
      else round.set(config, known)
    }
    return wanted
  }

  private async refreshAll(wanted: ReadonlyMap<string, Files>, round: Map<string, string>): Promise<Asked> {
    const paths = [...wanted.keys()].map((path) => join(this.pveDir, path))
    const stamps = await this.askStamps(paths)
    const lines = stamps.split('\n')
    this.stamps = new Map(paths.map((path, i) => [path, lines[i] ?? '']))
    this.isSettled = stamps !== ''
    const left = wanted.entries()
    this.asked = [...wanted.values()].filter((files) => files === this.files).length
    let failure: unknown
    const lane = async (): Promise<void> => {
      for (const [path, files] of left) {
        if (failure !== undefined) return
        const state = this.refresh(path, files).then((hash) => round.set(path, hash))
        await state.catch((error: unknown) => (failure = error))
      }
    }
    await Promise.all(Array.from({ length: this.lanes }, lane))
    if (failure instanceof Error) throw failure
    return { paths, stamps }
  }

  /** The hash of a file's state. */
  private async refresh(path: string, files: Files): Promise<string> {
    const full = join(this.pveDir, path)
    try {
      return await files.read(full, async () => {
        this.isSettled = false
        return this.note(path, await this.fileInTime(full, () => readOwn(full, path)))
      })
    } catch (error) {
      if (!(error instanceof Late)) return this.note(path, unreadOf(full, error))
      // Whether it is this file alone.
      await this.readList()
      return this.note(path, { reason: `cannot read ${full}: it does not answer`, isOfFile: true })
    }
  }

  private note(path: string, state: string | Unread | undefined): string {
    if (state === undefined) return ''
    this.fresh.set(path, state)
    return shortHash(JSON.stringify(state))
  }

  /** pmxcfs makes the list up at each read, so its answer also tells that the mount answers at all. */
  private async readList(): Promise<string | undefined> {
    const full = join(this.pveDir, VMLIST)
    try {
      return await this.mountInTime(full, () => readOwn(full, VMLIST))
    } catch (error) {
      throw new Unreadable(
        error instanceof Late ? `${this.pveDir} does not answer` : unreadOf(full, error).reason,
      )
    }
  }

  /** Whether there is quorum. An unmounted /etc/pve is an empty directory; upstream tests the same link (pve-cluster Cluster.pm). */
  private async checkMounted(): Promise<boolean> {
    const { pveDir, node } = this
    const ask = (path: string): Promise<Stats | undefined> =>
      this.mountInTime(path, () => statOf(path)).catch((error: unknown) => {
        if (error instanceof Late) throw new Unreadable(`${pveDir} does not answer`)
        codeOf(pveDir, error)
        throw new Unreadable(`cannot read ${pveDir}: ${systemReason(error)}`)
      })
    const [local, folder] = await Promise.all([ask(join(pveDir, 'local')), ask(join(pveDir, 'nodes', node))])
    if (!local && !(await ask(pveDir)))
      throw new Unreadable(`${pveDir} is not mounted: there is no such folder; is this a node of Proxmox VE?`)
    if (!local?.isSymbolicLink())
      throw new Unreadable(`${pveDir} is not mounted (${pveDir}/local is no symbolic link)`)
    if (!folder?.isDirectory())
      throw new Unreadable(`${join(pveDir, 'nodes', node)} is missing; is '${node}' the name of this node?`)
    return (local.mode & 0o200) !== 0
  }
}

/** All files, read by this process. Throws Unreadable. */
export async function readPve(pveDir: string, node: string): Promise<PveFiles> {
  const { files, unreadable } = await new Rounds(pveDir, node, () => undefined).next(true)
  if (unreadable !== undefined) throw new Unreadable(unreadable)
  return new Map(files.flatMap(([path, state]) => (state === null ? [] : [[path, state] as const])))
}

const EMPTY = shortHash('""')
const GUEST_FW = /^firewall\/\d+\.fw$/

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([path, hash]) => b.get(path) === hash)
}

/** Undefined for a missing file. By callback, which takes half as long as the promise of Node.js. */
function statOf(path: string): Promise<Stats | undefined> {
  return new Promise((resolve, reject) => {
    lstat(path, (error, stats) => {
      if (error && error.code !== 'ENOENT') reject(error)
      else resolve(error ? undefined : stats)
    })
  })
}

/** .fw files and settings are bytes until they are shown. */
function encodingOf(path: string): BufferEncoding {
  return /\.fw$/.test(path) || path === CLUSTER_CONF ? 'latin1' : 'utf8'
}

/**
 * A file in one read, opened and closed at once (an open file makes pmxcfs leave .fuse_hidden files); only a plain file of a
 * size that pmxcfs can have: a link in a guest's place might lead to anything, a pipe never end. Undefined when missing.
 */
async function readOwn(full: string, path: string): Promise<string | undefined> {
  const isGuests = /\.fw$|^nodes\//.test(path)
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (isGuests ? constants.O_NOFOLLOW : 0)
  const handle = await open(full, flags).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  })
  if (!handle) return undefined
  try {
    const status = await handle.stat()
    const odd = status.isDirectory() ? 'it is a folder' : status.isFile() ? undefined : 'it is no plain file'
    const reason = odd ?? (status.size > MAX_FILE_BYTES ? 'it is too large' : undefined)
    if (reason !== undefined) throw new OddFile(reason)
    return await handle.readFile(encodingOf(path))
  } finally {
    await handle.close()
  }
}

class OddFile extends Error {}

/** Codes for a link, a folder, or a mode: they concern one file, not the mount. */
const OF_THE_FILE = ['ELOOP', 'EISDIR', 'EACCES', 'EPERM']

function unreadOf(full: string, error: unknown): Unread {
  if (error instanceof OddFile) return { reason: `cannot read ${full}: ${error.message}`, isOfFile: true }
  const code = codeOf(full, error)
  return { reason: `cannot read ${full}: ${systemReason(error)}`, isOfFile: OF_THE_FILE.includes(code) }
}
