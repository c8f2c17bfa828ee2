/** The two backends of iptables, each called by its explicit name: rules of one are invisible to the other, and both are in force. */
import { realpath } from 'node:fs/promises'
import type { Family } from '../address.ts'
import type { Settings } from '../settings.ts'

export type Backend = 'legacy' | 'nft'

export const otherBackend = (backend: Backend): Backend => (backend === 'legacy' ? 'nft' : 'legacy')

/** The backend that plain `iptables` means on this node: pve-firewall sets the alternative to legacy at each start. */
export async function currentBackend(): Promise<Backend> {
  const target = await realpath('/usr/sbin/iptables').catch(() => '')
  return target.includes('legacy') ? 'legacy' : 'nft'
}

/** The backend to use: of the settings, or what plain `iptables` means. */
export async function chooseBackend({ backend }: Settings): Promise<Backend> {
  return backend === 'auto' ? currentBackend() : backend
}

export function saveProgram(backend: Backend, family: Family): string {
  return `${iptables(family)}-${backend}-save`
}

export function restoreProgram(backend: Backend, family: Family): string {
  return `${iptables(family)}-${backend}-restore`
}

function iptables(family: Family): string {
  return family === 4 ? 'iptables' : 'ip6tables'
}
