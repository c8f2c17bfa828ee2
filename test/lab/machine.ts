import { accessSync, constants } from 'node:fs'

/** The search path for all that the lab runs: Debian leaves the sbin directories out of a user's. */
export const searchPath = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`

const tools = [
  'ip',
  'nsenter',
  'unshare',
  'setpriv',
  'mount',
  'ipset',
  'conntrack',
  'nft',
  ...['iptables', 'ip6tables'].flatMap((name) => [`${name}-legacy`, `${name}-nft`]),
]

/** Throws, never skips, when packets cannot be sent on this machine: not root, or a tool is missing. */
export function requireLabMachine(): void {
  if (process.getuid?.() !== 0) throw new Error('packet tests need root: they build network namespaces')
  const missing = tools.filter((tool) => !isInstalled(tool))
  if (missing.length > 0) throw new Error(`packet tests need these tools, not found: ${missing.join(', ')}`)
}

function isInstalled(tool: string): boolean {
  return searchPath.split(':').some((dir) => {
    try {
      accessSync(`${dir}/${tool}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
