/** Which backend of iptables is the node's. */
import { realpath } from 'node:fs/promises'
import type { Backend } from '../facts/backend.ts'
import type { Settings } from '../settings.ts'

/** The backend that plain `iptables` means on this node: pve-firewall sets the alternative to legacy at each start. */
export async function currentBackend(): Promise<Backend> {
  const target = await realpath('/usr/sbin/iptables').catch(() => '')
  return target.includes('legacy') ? 'legacy' : 'nft'
}

/** The backend to use: of the settings, or what plain `iptables` means. */
export async function chooseBackend({ backend }: Settings): Promise<Backend> {
  return backend === 'auto' ? currentBackend() : backend
}
