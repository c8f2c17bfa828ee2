/**
 * Address literals as Perl's Net::IP 1.26 takes them, which pve-firewall uses for the source and destination of rules:
 * `10`, `10/8`, `0/0`, `010.0.0.1`, and a tail behind `/` that is no number (`10.0.0.0/255.255.255.0`) is passed over.
 * The messages are Net::IP's.
 */

/** An address: 4 numbers of 8 bits, or 8 of 16. */
type Parts = readonly number[]

/** What a literal spans, first and last address included. */
interface Literal {
  version: 4 | 6
  first: Parts
  last: Parts
}

type LiteralResult = Literal | { error: string }

function versionError4(ip: string): string | undefined {
  if (!/^[\d.]+$/.test(ip)) return `Invalid chars in IP ${ip}`
  if (ip.startsWith('.')) return `Invalid IP ${ip} - starts with a dot`
  if (ip.endsWith('.')) return `Invalid IP ${ip} - ends with a dot`
  const quads = ip.split('.', 5)
  if (quads.length > 4) return `Invalid IP address ${ip}`
  if (quads.includes('')) return `Empty quad in IP address ${ip}`
  const bad = quads.find((quad) => Number(quad) > 255)
  return bad === undefined ? undefined : `Invalid quad in IP address ${ip} - ${bad}`
}

/** Four numbers; missing ones at the end are 0. Values over 255 pass here, as there. */
function expand4(ip: string): number[] | { error: string } {
  const quads = ip.split('.', 5)
  if (quads.length > 4) return { error: `Not a valid IPv address ${ip}` }
  if (!quads.every((quad) => /^\d{1,3}$/.test(quad))) return { error: `Not a valid IPv4 address ${ip}` }
  return [0, 1, 2, 3].map((at) => Number(quads[at] ?? 0))
}

function versionError6(ip: string): string | undefined {
  const octets = ip.split(':', 9)
  if (octets.length > 8) return `Invalid IP address ${ip}`
  let count = octets.length
  for (const [at, octet] of octets.entries()) {
    if (octet === '' || /^[a-f\d]{1,4}$/i.test(octet)) continue
    if (at !== octets.length - 1 || versionError4(octet) !== undefined) return `Invalid IP address ${ip}`
    count++
  }
  if (/^:(?!:)/.test(ip)) return `Invalid address ${ip} (starts with :)`
  if (/(?<!:):$/.test(ip)) return `Invalid address ${ip} (ends with :)`
  const gap = ip.indexOf('::')
  if (gap >= 0 && ip.includes('::', gap + 1)) return `Invalid address ${ip} (More than one :: pattern)`
  return count !== 8 && gap < 0 ? `Invalid number of octets ${ip}` : undefined
}

/** The groups of one side of `::`, or of all there is; a last part with dots is two groups. */
function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((octet) => {
    if (!octet.includes('.')) return [Number.parseInt(octet, 16)]
    const quads = expand4(octet)
    if ('error' in quads) return [Number.NaN]
    const [a = 0, b = 0, c = 0, d = 0] = quads
    return [a * 256 + b, c * 256 + d]
  })
}

/** Eight groups. That there are no more, and no fewer unless `::` fills them, `versionError6` has seen to. */
function expand6(ip: string): number[] | { error: string } {
  const gap = ip.indexOf('::')
  const head = groups(gap < 0 ? ip : ip.slice(0, gap))
  const tail = gap < 0 ? [] : groups(ip.slice(gap + 2))
  const zeros = 8 - head.length - tail.length
  const all = [...head, ...Array<number>(Math.max(zeros, 0)).fill(0), ...tail]
  return all.includes(Number.NaN) ? { error: `Bad IP address ${ip}` } : all
}

/** One address without prefix. */
function parseAddress(ip: string): { version: 4 | 6; parts: number[] } | { error: string } {
  const version = ip.includes(':') ? 6 : 4
  const error = version === 4 ? versionError4(ip) : versionError6(ip)
  if (error !== undefined) return { error }
  const parts = version === 4 ? expand4(ip) : expand6(ip)
  return 'error' in parts ? parts : { version, parts }
}

function bits(parts: Parts): string {
  const width = parts.length === 4 ? 8 : 16
  return parts.map((part) => part.toString(2).padStart(width, '0')).join('')
}

/** The last address of a network, or what is wrong with its length: too long, or bits set behind it. */
function lastOfPrefix(first: Parts, length: string): Parts | { error: string } {
  const width = first.length === 4 ? 8 : 16
  const total = width * first.length
  const fixed = Number(length)
  if (fixed > total) return { error: `Prefix length ${length} is longer than IP address (${total})` }
  const hosts = first.map((_, at) => (1 << (width - Math.min(Math.max(fixed - at * width, 0), width))) - 1)
  if (first.some((part, at) => (part & (hosts[at] ?? 0)) !== 0))
    return { error: `Invalid prefix ${bits(first)}/${length}` }
  return first.map((part, at) => part | (hosts[at] ?? 0))
}

function isAfter(a: Parts, b: Parts): boolean {
  const at = a.findIndex((part, index) => part !== b[index])
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0)
}

/** As Net::IP writes an address in its messages. */
function format(parts: Parts): string {
  if (parts.length === 4) return parts.join('.')
  return parts.map((part) => part.toString(16).padStart(4, '0')).join(':')
}

function expandEnd4(ip: string): { text: string } | { error: string } {
  const quads = expand4(ip)
  return 'error' in quads ? quads : { text: format(quads) }
}

/** The end of a range may have one `::` too many groups for an address by itself: `fd00:1:2:3:4:5:6::`, `fd00::2:`. */
function expandEnd6(ip: string): { text: string } | { error: string } {
  const marked = ip.replaceAll('::', ':!:')
  if (marked.split('!').length > 2) return { error: 'Too many :: in ip' }
  const octets = marked.replace(/:+$/, '').split(':')
  const expanded = octets.map((octet) => {
    if (octet === '!' || !octet.includes('.')) return octet.padStart(4, '0')
    const quads = expand4(octet)
    return 'error' in quads ? octet : format(groups(octet)).slice(-9)
  })
  const at = octets.indexOf('!')
  const missing = 9 - expanded.join(':').split(':').length
  if (at >= 0) expanded[at] = Array<string>(Math.max(missing, 0)).fill('0000').join(':')
  return { text: expanded.join(':') }
}

function parseRange(from: string, to: string): LiteralResult {
  const first = parseAddress(from)
  if ('error' in first) return first
  // The end is expanded in the family of the beginning, and only then judged by itself.
  const expanded = first.version === 4 ? expandEnd4(to) : expandEnd6(to)
  if ('error' in expanded) return expanded
  const last = parseAddress(expanded.text)
  if ('error' in last) return last
  if (last.version !== first.version) return { error: `Invalid number of octets ${to}` }
  if (isAfter(first.parts, last.parts))
    return {
      error: `Begin address is greater than End address ${format(first.parts)} - ${format(last.parts)}`,
    }
  return { version: first.version, first: first.parts, last: last.parts }
}

/** Reads an address, a network or a range; no blanks, no commas. */
export function parseLiteral(text: string): LiteralResult {
  const slash = text.indexOf('/', 1)
  if (slash > 0 && slash < text.length - 1) {
    const first = parseAddress(text.slice(0, slash))
    if ('error' in first) return first
    const length = text.slice(slash + 1)
    const last = /^\d+$/.test(length) ? lastOfPrefix(first.parts, length) : first.parts
    return 'error' in last ? last : { version: first.version, first: first.parts, last }
  }
  const dash = text.indexOf('-', 1)
  if (dash > 0 && dash < text.length - 1) return parseRange(text.slice(0, dash), text.slice(dash + 1))
  const only = parseAddress(text)
  return 'error' in only ? only : { version: only.version, first: only.parts, last: only.parts }
}
