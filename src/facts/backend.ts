/** The two backends of iptables: rules of one are invisible to the other, and both are in force. */
import type { Family } from '../address.ts'

export const BACKENDS = ['legacy', 'nft'] as const
export type Backend = (typeof BACKENDS)[number]

export const otherBackend = (backend: Backend): Backend => (backend === 'legacy' ? 'nft' : 'legacy')

/** The program by its explicit name; plain `iptables` may mean either. */
export function iptables(backend: Backend, family: Family): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}`
}

export function saveProgram(backend: Backend, family: Family): string {
  return `${iptables(backend, family)}-save`
}

export function restoreProgram(backend: Backend, family: Family): string {
  return `${iptables(backend, family)}-restore`
}
