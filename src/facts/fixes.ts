/** Commands that mend things, as lines for a shell. Whatever a user typed is quoted whole. */
import { formatRange, type Family, type Range } from '../address.ts'
import type { FwRule } from '../fw/fw-file.ts'
import type { Guest, Nic } from '../guest/guest.ts'
import { CLUSTER_FW, fileAt, guestFw, type View } from '../nat/view.ts'
import type { Network } from '../network.ts'
import { readWords } from '../nat/words.ts'
import { dotted } from '../sysctls.ts'

/** One word of a shell line, whatever is in it. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

export function sysctlCommand(path: string, value: string | number): string {
  return `sysctl -w ${dotted(path)}=${value}`
}

/** Leads a network by the table main, in front of the routing rules of others. */
export function ruleToMain({ foreign }: Network, network: Range): string {
  const { family } = network
  const first = Math.min(...(foreign?.[family].rules.map(({ priority }) => priority) ?? []))
  const place = Number.isFinite(first) ? ` priority ${Math.max(first - 1, 1)}` : ''
  return `ip${family === 6 ? ' -6' : ''} rule add to ${formatRange(network)} lookup main${place}`
}

/** Lets NAT rules work whose firewall is off: to switch it on would close ports that nothing opens again. */
export const REQUIRE_NO_FIREWALL =
  "mkdir -p /etc/pvenat && printf '[nat]\\nrequire-firewall = no\\n' >>/etc/pvenat/pvenat.conf"

/** Rules of FORWARD that let pass what pvenat translates, as iptables-save prints them. The policy stays. */
export function acceptLines({ external, internal }: Network, family: Family): string[] {
  const networks = internal.filter(({ network }) => network.family === family)
  return [
    '-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT',
    '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT',
    ...networks.flatMap(({ network }) =>
      external.map(({ name }) => `-A FORWARD -s ${formatRange(network)} -o ${name} -j ACCEPT`),
    ),
  ]
}

/** `saved`: text of iptables-save. */
export function missingAccepts(lines: readonly string[], saved: string): string[] {
  return lines.filter((line) => !saved.includes(`\n${line}\n`))
}

/** Commands that put rules before all others of their chain. */
export function insertions(iptables: string, lines: readonly string[]): string[] {
  return lines.map((line) => `${iptables} -w ${line.replace('-A', '-I')}`)
}

/** The path of a guest's firewall in the API. */
export function guestApi({ node }: View, { type, vmid }: Guest): string {
  return `/nodes/${node}/${type}/${vmid}/firewall`
}

/** The line of a file as the API names it: `/cluster/firewall/rules/0`. Undefined when no rule stands there. */
export function ruleApi(view: View, file: string, line: number): string | undefined {
  const found = ruleAt(view, file, line)
  if (!found) return undefined
  const { group, position } = found
  if (group !== undefined) return `/cluster/firewall/groups/${group}/${position}`
  const owned = view.guests.find(({ guest }) => guestFw(guest.vmid) === file)
  const ofNode = file === CLUSTER_FW ? '/cluster/firewall' : `/nodes/${view.node}/firewall`
  return `${owned ? guestApi(view, owned.guest) : ofNode}/rules/${position}`
}

/** The rule at a line of a file, and its position in the list of its file or group, counted from 0 as the GUI and the API do. */
export function ruleAt(
  view: View,
  file: string,
  line: number,
): { rule: FwRule; position: number; group?: string } | undefined {
  const { rules = [], groups = [] } = fileAt(view, file) ?? {}
  const lists = [{ rules }, ...[...groups].map(([group, one]) => ({ rules: one.rules, group }))]
  for (const { rules: list, ...group } of lists) {
    const position = list.findIndex(({ span }) => span.line === line)
    const rule = list[position]
    if (rule) return { rule, position, ...group }
  }
  return undefined
}

/** A comment with one more option, before the free text. */
export function withOption(comment: string, option: string): string {
  const { at, words } = readWords(comment)
  const [first] = words
  const isEndpoint = first !== undefined && /^(?:[\d[:]|(?:none|off|auto|\?)$)/i.test(first.text)
  const trigger = at + (comment[at + 3] === ':' ? 4 : 3)
  const end = isEndpoint ? first.at + first.text.length : trigger
  const rest = comment.slice(end)
  return `${comment.slice(0, end)} ${option}${/^\S/.test(rest) ? ' ' : ''}${rest}`
}

/** Gives the NIC of a guest another gateway: for a container at once, for a VM when cloud-init runs next. */
export function gatewayCommand(
  guest: Guest,
  nic: Nic,
  family: Family,
  config: string,
  gateway: Range,
): string {
  return configEdit(guest, nic, config, family === 4 ? 'gw' : 'gw6', formatRange(gateway))
}

/**
 * Sets one property of a guest's NIC: of `netN` of a container, of `ipconfigN` of a VM. Without a property it sets `netN` to
 * what `config` has there.
 */
export function configEdit(guest: Guest, nic: Nic, config: string, key?: string, value?: string): string {
  const isAddress = /^(ip|gw)6?$/.test(key ?? '') && guest.type === 'qemu'
  const name = `${isAddress ? 'ipconfig' : 'net'}${nic.index}`
  const parts = configValue(config, name).split(',')
  const rest = parts.filter((part) => part !== '' && (key === undefined || !part.startsWith(`${key}=`)))
  const text = quoted([...rest, ...(key === undefined ? [] : [`${key}=${value ?? ''}`])].join(','))
  return guest.type === 'lxc'
    ? `pct set ${guest.vmid} -${name} ${text}`
    : `qm set ${guest.vmid} --${name} ${text}`
}

/** The value of a key above the first section of a guest's config. */
function configValue(config: string, key: string): string {
  for (const line of config.split('\n')) {
    if (line.startsWith('[')) break
    if (line.startsWith(`${key}:`)) return line.slice(key.length + 1).trim()
  }
  return ''
}
