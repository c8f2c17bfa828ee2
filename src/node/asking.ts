/** The service is asked over a socket in its run folder, which this side may write to although it may write nothing else there. */
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { parseJson } from '../json.ts'
import type { PortRange } from '../ports.ts'

/** Its name in the run folder. A connection carries one line: `look`, which lasts while somebody looks, `rule ID` or `node`. */
export const SOCKET = 'ask.sock'

/** Who is connected by a rule now. */
export interface RuleAnswer {
  guestType: 'qemu' | 'lxc' | null
  /** As `blockText` (show/blocks.ts) has the block of its guest; null where the settings give it none. */
  block: string | null
  /** The first ones, of `total`. For a way out, `client` is inside and `port` is where it leads. */
  connections: { client: string; port: string; state: string }[]
  total: number
}

/** What a new rule depends on. */
export interface NodeAnswer {
  guests: {
    vmid: number
    name: string
    type: 'qemu' | 'lxc'
    addresses: string[]
    /** Ports of its block that no rule has; null where the settings give it none. */
    free: PortRange[] | null
  }[]
  /** Ports that guests cannot have because the node uses or keeps them. */
  taken: { proto: string; ports: PortRange; holder: string }[]
}

const TIMEOUT_MS = 5000
const MAX_CHARS = 4 * 1024 * 1024

/** The answer to one line; null when there is none. */
export function askService<T>(runDir: string, line: string): Promise<T | null> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(join(runDir, SOCKET), () => socket.write(`${line}\n`))
    socket.setEncoding('utf8').setTimeout(TIMEOUT_MS, () => socket.destroy())
    socket.on('data', (data: string) => (text += data).length > MAX_CHARS && socket.destroy())
    socket.on('error', () => undefined).on('close', () => resolve((parseJson(text) ?? null) as T | null))
  })
}

/** Lets the service know that somebody looks, from `set(true)` to `set(false)`. Called again and again: the service may come later. */
export function makeLooking(runDir: string): (isLooking: boolean) => void {
  let socket: Socket | undefined
  return (isLooking) => {
    if (!isLooking) socket?.destroy()
    else if (!socket || socket.destroyed)
      socket = connect(join(runDir, SOCKET), () => socket?.write('look\n')).on('error', () => undefined)
  }
}
