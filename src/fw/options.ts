/** The [OPTIONS] section. Facts: pve-firewall Firewall.pm, `parse_*fw_option`. */
import { asciiLower, skipBlanks, trimEnd } from './bytes.ts'

/** The file kinds that differ in what options they know. */
export type OptionKind = 'cluster' | 'host' | 'guest' | 'vnet'

type Value = string | number
type ReadValue = (value: string) => Value | undefined

// prettier-ignore
export const LOG_LEVELS: readonly string[] = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug', 'nolog']
// prettier-ignore
const HELPERS: readonly string[] = ['amanda', 'ftp', 'irc', 'netbios-ns', 'pptp', 'sane', 'sip', 'snmp', 'tftp']

const bool: ReadValue = (value) => (value === '0' || value === '1' ? Number(value) : undefined)
// Capped, because a number beyond this would not survive JSON.
const count: ReadValue = (value) =>
  /^\d+$/.test(value) ? Math.min(Number(value), Number.MAX_SAFE_INTEGER) : undefined
const word: ReadValue = (value) => (/^[^ \t-\r]+$/.test(value) ? value : undefined)
const level: ReadValue = (value) => (LOG_LEVELS.includes(asciiLower(value)) ? asciiLower(value) : undefined)
const levelOrNone: ReadValue = (value) => (value === '' ? '' : level(value))
const oneOf =
  (...actions: string[]): ReadValue =>
  (value) =>
    actions.includes(value.toUpperCase()) ? value.toUpperCase() : undefined
const policy = oneOf('ACCEPT', 'DROP', 'REJECT')
const helpers: ReadValue = (value) =>
  value.split(',').every((helper) => HELPERS.includes(asciiLower(helper))) ? asciiLower(value) : undefined
const queues: ReadValue = (value) => (/^\d+(?::\d+)?$/.test(value) ? value : undefined)

/**
 * Whether pve-firewall can read a value of log_ratelimit: `[enable=]BOOLEAN[,burst=N][,rate=N/UNIT]`. It takes any word when it reads the
 * file, and fails as a whole when it makes rules of it (Firewall.pm, `log_ratelimit`; JSONSchema.pm, `parse_property_string`).
 */
export function isRateLimit(value: string): boolean {
  const parts = value.split(',').map((part) => (part.includes('=') ? part : `enable=${part}`))
  const keys = parts.map((part) => part.slice(0, part.indexOf('=')))
  return (
    keys.includes('enable') &&
    new Set(keys).size === keys.length &&
    parts.every((part) => RATE_LIMIT.test(part))
  )
}

const RATE_LIMIT =
  /^(?:enable=(?:1|on|yes|true|0|off|no|false)|burst=\d+|rate=[1-9]\d*\/(?:second|minute|hour|day))$/i

function table(...rows: [read: ReadValue, ...keys: string[]][]): ReadonlyMap<string, ReadValue> {
  return new Map(rows.flatMap(([read, ...keys]) => keys.map((key) => [key, read] as const)))
}

const OPTIONS: Readonly<Record<OptionKind, ReadonlyMap<string, ReadValue>>> = {
  cluster: table(
    [count, 'enable'],
    [bool, 'ebtables'],
    [policy, 'policy_in', 'policy_out', 'policy_forward'],
    [word, 'log_ratelimit'],
  ),
  // prettier-ignore
  host: table(
    [bool, 'enable', 'nosmurfs', 'tcpflags', 'ndp', 'log_nf_conntrack', 'nf_conntrack_allow_invalid', 'protection_synflood', 'nftables'],
    [levelOrNone, 'log_level_in', 'log_level_out', 'log_level_forward', 'tcp_flags_log_level', 'smurf_log_level'],
    [helpers, 'nf_conntrack_helpers'],
    [count, 'nf_conntrack_max', 'nf_conntrack_tcp_timeout_established', 'nf_conntrack_tcp_timeout_syn_recv',
      'protection_synflood_rate', 'protection_synflood_burst', 'protection_limit'],
  ),
  // The ethernet types of layer2_protocols are not looked up in /etc/ethertypes: nothing here rests on them.
  guest: table(
    [bool, 'enable', 'dhcp', 'ndp', 'radv', 'macfilter', 'ipfilter', 'ips'],
    [levelOrNone, 'log_level_in', 'log_level_out'],
    [policy, 'policy_in', 'policy_out'],
    [queues, 'ips_queues'],
    [word, 'layer2_protocols'],
  ),
  vnet: table([count, 'enable'], [oneOf('ACCEPT', 'DROP'), 'policy_forward'], [level, 'log_level_forward']),
}

/**
 * Reads one trimmed line `key: value`. The key's case does not matter (except log_ratelimit's), no blank may precede the
 * colon, and there are no comments: `enable: 1 # x` is no option. Undefined when unknown or bad: upstream then warns and
 * goes on without it. An `enable` of cluster.fw above 1 is a time; whether it has passed is not judged here.
 */
export function parseOption(line: string, kind: OptionKind): { key: string; value: Value } | undefined {
  const colon = line.indexOf(':')
  if (colon < 0) return undefined
  const typed = line.slice(0, colon)
  const key = asciiLower(typed)
  if (key === 'log_ratelimit' && typed !== key) return undefined
  const from = skipBlanks(line, colon + 1, line.length)
  const value = OPTIONS[kind].get(key)?.(line.slice(from, trimEnd(line, from, line.length)))
  return value === undefined ? undefined : { key, value }
}
