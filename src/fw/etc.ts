/** The node's /etc/services and /etc/protocols, as pve-firewall reads them (Firewall.pm, `get_etc_*`). */

function content(text: string): string[] {
  return text.split('\n').filter((line) => !line.startsWith('#') && line.trim() !== '')
}

/** Service names of the first column with their port; aliases do not count, the last line of a name wins, whatever its protocol. */
export function parseServices(text: string): Map<string, number> {
  const services = new Map<string, number>()
  for (const line of content(text)) {
    const [, name, port] = /^(\S+)\s+(\d+)\/(?:tcp|udp|sctp)/.exec(line) ?? []
    if (name !== undefined && port !== undefined) services.set(name, Number(port))
  }
  return services
}

/** Protocol names of the first column and, as text, the numbers of the second. */
export function parseProtocols(text: string): Set<string> {
  const protocols = new Set<string>()
  for (const line of content(text)) {
    const [, name, number] = /^(\S+)\s+(\d+)(?:\s|$)/.exec(line) ?? []
    if (name !== undefined && number !== undefined) protocols.add(name).add(number)
  }
  return protocols
}
