/** What the services of this node listen on. */
import { readFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { parseListeners, type Socket } from '../nat/listeners.ts'
import { codeOf } from './tree.ts'

/** The holder of a socket, by its inode: sockets stay, so a name is looked up once. */
const holders = new Map<string, string>()

/**
 * Every listening socket that is not on a loopback address, with the name of its process where that can be read. Throws Unreadable
 * rather than take the node's ports for free.
 */
export async function readListeners(): Promise<Socket[]> {
  const [tcp = '', tcp6 = '', udp = '', udp6 = '', range = ''] = FILES.map(readProc)
  const sockets = parseListeners({ tcp: [tcp, tcp6], udp: [udp, udp6], range })
  if (sockets.some(({ inode }) => !holders.has(inode)))
    await learnHolders(new Set(sockets.map(({ inode }) => inode)))
  return sockets.map((socket) => ({ ...socket, holder: holders.get(socket.inode) ?? '' }))
}

const FILES = ['net/tcp', 'net/tcp6', 'net/udp', 'net/udp6', 'sys/net/ipv4/ip_local_port_range']

/** At once: made up in memory, it costs less than to wait for it. */
function readProc(name: string): string {
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
  for (const inode of inodes) if (!holders.has(inode)) holders.set(inode, '')
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  await Promise.all(
    pids.map(async (pid) => {
      const fds = await readdir(`/proc/${pid}/fd`).catch(() => [])
      const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
      const own = links
        .flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
        .filter((inode) => inodes.has(inode))
      if (own.length === 0) return
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      for (const inode of own) holders.set(inode, name)
    }),
  )
}
