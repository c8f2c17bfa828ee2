/** The listening sockets of this node. */
import { readFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { parseListeners, parseV6Only, type Socket } from '../nat/sockets.ts'
import { run } from './exec.ts'
import { codeOf } from './tree.ts'

/** The holder of a socket, by its inode: sockets stay, so a name is looked up once. KERNEL: no process has it. */
const holders = new Map<string, string>()
const KERNEL = 'kernel'
/** Inodes of sockets on every address that take IPv6 alone. */
let v6Only: ReadonlySet<string> = new Set()

/**
 * Every listening socket that is not on a loopback address, with the name of its process where that can be read. Throws Unreadable
 * rather than take the node's ports for free.
 */
export async function readListeners(): Promise<Socket[]> {
  const sockets = readSockets()
  const young = sockets.filter(({ inode }) => !holders.has(inode))
  if (young.some(({ address, family }) => !address && !family))
    v6Only = new Set(parseV6Only((await run('ss', ['-H', '-ltune6'])).stdout))
  if (young.length > 0) await learnHolders(new Set(sockets.map(({ inode }) => inode)))
  return sockets.map((one): Socket => {
    const socket: Socket = v6Only.has(one.inode) ? { ...one, family: 6 } : one
    const holder = holders.get(socket.inode) ?? ''
    return holder === KERNEL ? { ...socket, holder: 'the kernel', isKernel: true } : { ...socket, holder }
  })
}

function readSockets(): Socket[] {
  const [tcp = '', tcp6 = '', udp = '', udp6 = ''] = ['tcp', 'tcp6', 'udp', 'udp6'].map((name) =>
    readProc(`net/${name}`),
  )
  return parseListeners({ tcp: [tcp, tcp6], udp: [udp, udp6] })
}

/** At once: made up in memory, it costs less than to wait for it. */
export function readProc(name: string): string {
  const file = `/proc/${name}`
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    codeOf(file, error)
    return ''
  }
}

async function learnHolders(inodes: ReadonlySet<string>): Promise<void> {
  for (const inode of holders.keys()) if (!inodes.has(inode)) holders.delete(inode)
  const unknown = new Set([...inodes].filter((inode) => !holders.has(inode)))
  const { processes, isWhole } = await processesWith(inodes)
  for (const { name, own } of processes)
    for (const inode of own) {
      holders.set(inode, name)
      unknown.delete(inode)
    }
  // A socket that was closed meanwhile had a holder.
  const still = new Set(unknown.size > 0 ? readSockets().map(({ inode }) => inode) : [])
  for (const inode of unknown) holders.set(inode, isWhole && still.has(inode) ? KERNEL : '')
}

interface Processes {
  /** `own`: inodes of the sockets that it holds. */
  processes: { pid: string; name: string; own: string[] }[]
  /** Whether all processes could be looked into, which takes root. */
  isWhole: boolean
}

/** The processes that hold sockets with these inodes: by the links in /proc/PID/fd. */
export async function processesWith(inodes: ReadonlySet<string>): Promise<Processes> {
  let isWhole = true
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const processes = await Promise.all(
    pids.map(async (pid) => {
      const fds = await readdir(`/proc/${pid}/fd`).catch(({ code }: NodeJS.ErrnoException) => {
        if (code !== 'ENOENT' && code !== 'ESRCH') isWhole = false
        return []
      })
      const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
      const own = links
        .flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
        .filter((inode) => inodes.has(inode))
      if (own.length === 0) return []
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      return [{ pid, name, own }]
    }),
  )
  return { processes: processes.flat(), isWhole }
}
