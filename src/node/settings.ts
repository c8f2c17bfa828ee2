/** Reads pvenat.conf: the cluster's file, and the node's over it. A bad key or value is a diagnostic; the default holds. */
import { parse } from 'ini'
import { readFile } from 'node:fs/promises'
import { parseCidr, parseIp } from '../address.ts'
import { diagnose, type Diagnostic } from '../diagnostic.ts'
import type { PortRange } from '../nat/comment.ts'
import { DEFAULT_SETTINGS, type GuestSettings, type ReservedPort, type Settings } from '../settings.ts'

interface Key<T> {
  expected: string
  /** Undefined for a value that is not acceptable. */
  read: (text: string) => ((target: T) => void) | undefined
}

const PORTS = 'ports from 1 to 65535, like 80,20100-20119'
const YES_NO = 'yes or no'
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}$/

const NAT: Record<string, Key<Settings>> = {
  external: key(
    'auto, or names of interfaces',
    (text) => auto(text, (one) => (INTERFACE.test(one) ? one : undefined)),
    'external',
  ),
  internal: key('auto, or networks', (text) => auto(text, parseCidr), 'internal'),
  'require-firewall': key(YES_NO, yesNo, 'requireFirewall'),
  backend: key('auto, legacy or nft', (text) => oneOf(text, ['auto', 'legacy', 'nft'] as const), 'backend'),
  hairpin: key('yes, no or others', (text) => oneOf(text, ['yes', 'no', 'others'] as const), 'hairpin'),
  'guest-ports': key(PORTS, portRanges, 'guestPorts'),
  'reserved-ports': key(
    'auto, or a list like tcp:22,udp:5404-5412, added to auto with +',
    reservedPorts,
    'reserved',
  ),
  'allow-reserved': key(YES_NO, yesNo, 'allowReserved'),
  'cut-removed': key(YES_NO, yesNo, 'cutRemoved'),
  interval: key('seconds from 1 to 3600', seconds, 'intervalSeconds'),
}

const GUEST: Record<string, Key<GuestSettings>> = {
  ports: key(PORTS, portRanges, 'ports'),
  addresses: key('external addresses, separated by commas', (text) => list(text, parseIp), 'addresses'),
  address: key('one address', parseIp, 'address'),
}

/** The settings of the files, the later over the earlier, and what is wrong in them. A file that is missing says nothing. */
export async function readSettings(
  files: readonly string[],
): Promise<{ settings: Settings; diagnostics: Diagnostic[]; texts: Map<string, string> }> {
  const settings: Settings = { ...DEFAULT_SETTINGS, guests: new Map() }
  const diagnostics: Diagnostic[] = []
  const texts = new Map<string, string>()
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => undefined)
    if (text === undefined) continue
    texts.set(file, text)
    diagnostics.push(...merge(settings, file, text))
  }
  return { settings, diagnostics, texts }
}

function merge(settings: Settings, file: string, text: string): Diagnostic[] {
  return Object.entries(parse(text)).flatMap(([section, values]) => {
    const vmid = /^guest ([1-9]\d{2,9})$/.exec(section)?.[1]
    if (typeof values !== 'object' || values === null || (section !== 'nat' && vmid === undefined)) {
      return [diagnose('setting-unknown', placeOf(file, text, section, undefined), { key: section })]
    }
    const entries = Object.entries(values as Record<string, unknown>)
    const guest = vmid === undefined ? {} : { ...settings.guests.get(Number(vmid)) }
    if (vmid !== undefined) settings.guests.set(Number(vmid), guest)
    return entries.flatMap(([name, value]) => {
      const place = placeOf(file, text, section, name)
      return vmid === undefined
        ? set(NAT, settings, name, value, place)
        : set(GUEST, guest, name, value, place)
    })
  })
}

function set<T>(
  keys: Record<string, Key<T>>,
  target: T,
  name: string,
  value: unknown,
  place: Diagnostic['place'],
): Diagnostic[] {
  const known = Object.hasOwn(keys, name) ? keys[name] : undefined
  if (!known) return [diagnose('setting-unknown', place, { key: name })]
  const apply = known.read(String(value).trim())
  if (!apply)
    return [diagnose('setting-value', place, { key: name, value: String(value), expected: known.expected })]
  apply(target)
  return []
}

/** ini keeps no lines: the line of a key is looked up in the text again. */
function placeOf(file: string, text: string, section: string, name: string | undefined): Diagnostic['place'] {
  const lines = text.split('\n').map((line) => line.trim())
  const header = lines.indexOf(`[${section}]`)
  const offset =
    name === undefined
      ? 0
      : lines.slice(header + 1).findIndex((line) => line.split('=')[0]?.trim() === name) + 1
  const line = Math.max(header, 0) + offset
  return { file, span: { line: line + 1, from: 0, to: Buffer.byteLength(text.split('\n')[line] ?? '') } }
}

function key<T, K extends keyof T>(
  expected: string,
  read: (text: string) => T[K] | undefined,
  name: K,
): Key<T> {
  return {
    expected,
    read: (text) => {
      const value = read(text)
      return value === undefined ? undefined : (target) => void (target[name] = value)
    },
  }
}

function yesNo(text: string): boolean | undefined {
  return text === 'yes' || text === 'true' ? true : text === 'no' || text === 'false' ? false : undefined
}

function oneOf<T extends string>(text: string, words: readonly T[]): T | undefined {
  return words.find((one) => one === text)
}

function list<T>(text: string, read: (item: string) => T | undefined): T[] | undefined {
  const items = text
    .split(/[\s,]+/)
    .filter((item) => item !== '')
    .map(read)
  return items.length > 0 && items.every((item) => item !== undefined) ? items : undefined
}

function auto<T>(text: string, read: (item: string) => T | undefined): 'auto' | T[] | undefined {
  return text === 'auto' ? 'auto' : list(text, read)
}

function portRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:[-:](\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const [lo, hi] = [Number(match[1]), Number(match[2] ?? match[1])]
  return lo >= 1 && lo <= hi && hi <= 65535 ? [lo, hi] : undefined
}

function portRanges(text: string): PortRange[] | undefined {
  return list(text, portRange)
}

function reservedPorts(text: string): ReservedPort[] | undefined {
  if (text === 'auto') return DEFAULT_SETTINGS.reserved
  const items = list<ReservedPort>(text.replace(/^(auto)?\s*\+/, ''), (item) => {
    const match = /^(tcp|udp):(.*)$/.exec(item)
    const ports = portRange(match?.[2] ?? '')
    return match && ports
      ? { proto: match[1] as 'tcp' | 'udp', ports, holder: 'reserved in the settings' }
      : undefined
  })
  return items && (/^(auto)?\s*\+/.test(text) ? [...DEFAULT_SETTINGS.reserved, ...items] : items)
}

function seconds(text: string): number | undefined {
  const value = Number(text)
  return /^\d+$/.test(text) && value >= 1 && value <= 3600 ? value : undefined
}
