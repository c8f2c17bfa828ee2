/** The values of `-source` and `-dest`, and the addresses of aliases and ipsets. */
import { splitList } from './bytes.ts'
import { aliasReference, MAX_ALIAS_NAME, MAX_SET_NAME } from './names.ts'
import { parseIp } from '../address.ts'
import { parseLiteral } from './netip.ts'

/** The family that literals fix; a reference fixes none here. */
type AddressList = { version?: 4 | 6 } | { error: string }

/**
 * Judges a source or destination as upstream does (Firewall.pm, `parse_address_list`): one reference to an ipset, one
 * reference to an alias, or a comma list of literals of one family, with a range only as the sole item. Whether a
 * referenced name exists is not judged here.
 */
export function judgeAddressList(text: string): AddressList {
  if (text.startsWith('+') && text.length > 1)
    return text.length > MAX_SET_NAME + 1 ? { error: 'ipset name too long' } : {}
  if (aliasReference(text) !== undefined)
    return text.length > MAX_ALIAS_NAME ? { error: 'alias name too long' } : {}
  const items = splitList(text)
  if (items === undefined) return { error: 'extraneous commas in list' }
  let version: 4 | 6 | undefined
  let hasRange = false
  for (const item of items) {
    const literal = parseLiteral(item)
    if ('error' in literal) return { error: `invalid IP address: ${literal.error}` }
    hasRange ||= item.includes('-')
    if (version !== undefined && version !== literal.version)
      return { error: `detected mixed ipv4/ipv6 addresses in address list '${text}'` }
    version = literal.version
  }
  if (hasRange && items.length > 1) return { error: "you can't use a range in a list" }
  return version === undefined ? {} : { version }
}

type Cidr = { cidr: string; version: 4 | 6 } | { error: string }

const NO_ADDRESS = { error: 'value does not look like a valid IP address or CIDR network' }

/**
 * Reads an address or network of an alias or ipset (Firewall.pm, `parse_ip_or_cidr`): as typed, but without `/32` or `/128`.
 * Any number may follow the slash; Net::IP's checks are for rules only. No ranges, no lists.
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf('/')
  const ip = slash < 0 ? text : text.slice(0, slash)
  const address = parseIp(ip)
  if (!address || (slash >= 0 && !/^\d+$/.test(text.slice(slash + 1)))) return NO_ADDRESS
  const { family: version } = address
  const whole = version === 4 ? '/32' : '/128'
  return { cidr: text.endsWith(whole) ? ip : text, version }
}
