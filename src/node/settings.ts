/** Reads pvenat.conf: the cluster's file, and the node's over it. A bad key or value is a diagnostic; the default holds. */
import { parse } from 'ini'
import { readFile, stat } from 'node:fs/promises'
import { parseCidr, parseIp } from '../address.ts'
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { nearest } from '../nearest.ts'
import type { PortRange } from '../ports.ts'
import {
  DEFAULT_SETTINGS,
  type GuestBlocks,
  type GuestSettings,
  type ReservedPort,
  type Settings,
  type UplinkChoice,
} from '../settings.ts'
import { Unreadable, type Unread } from './tree.ts'

interface Key<T> {
  expected: string
  /** Undefined for a value that is not acceptable. */
  read: (text: string) => ((target: T) => void) | undefined
}

const PORTS = 'ports from 1 to 65535, like 80,20100-20119'
const UPLINKS = 'auto, none, all, or names of uplinks, separated by commas'
const YES_NO = 'yes or no'
/** An interface has up to 15 characters, an altname up to 127. */
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,126}$/

const NAT: Record<string, Key<Settings>> = {
  external: key('auto, or names of interfaces, added to auto with +', interfaces, 'external'),
  internal: key('auto, or networks, added to auto with +', networks, 'internal'),
  'require-firewall': key(YES_NO, yesNo, 'requireFirewall'),
  backend: key('auto, legacy or nft', (text) => oneOf(text, ['auto', 'legacy', 'nft'] as const), 'backend'),
  hairpin: key('yes, no or others', (text) => oneOf(text, ['yes', 'no', 'others'] as const), 'hairpin'),
  'guest-ports': key(PORTS, portRanges, 'guestPorts'),
  'guest-block': key(
    'none, or ports and how many of them a guest has, like 20000-59999/20',
    guestBlocks,
    'guestBlock',
  ),
  'reserved-ports': key(
    'auto, or a list like tcp:22,udp:5404-5412, added to auto with +',
    reservedPorts,
    'reserved',
  ),
  'allow-reserved': key(YES_NO, yesNo, 'allowReserved'),
  'cut-removed': key(YES_NO, yesNo, 'cutRemoved'),
  'gui-log': key('yes, errors or no', (text) => oneOf(text, ['yes', 'errors', 'no'] as const), 'guiLog'),
  interval: key('seconds from 1 to 3600', (text) => number(text, 1, 3600), 'intervalSeconds'),
  'guest-uplinks': key(UPLINKS, uplinkChoice, 'guestUplinks'),
  'clamp-mss': key('auto or no', (text) => ({ auto: true, no: false })[text], 'clampMss'),
  'uplink-mark': key(
    'a mark and its mask without bit 31, like 0x01000000/0x0f000000',
    uplinkMark,
    'uplinkMark',
  ),
  'uplink-table': key(
    'a number of a routing table from 1000 to 2147483647',
    (text) => number(text, 1000, 2 ** 31 - 1),
    'uplinkTable',
  ),
  'uplink-preference': key(
    'a preference of routing rules from 1 to 32764',
    (text) => number(text, 1, 32764),
    'uplinkPreference',
  ),
}

const GUEST: Record<string, Key<GuestSettings>> = {
  ports: key(PORTS, portRanges, 'ports'),
  block: key('the number of a block, from 0', blockNumber, 'block'),
  addresses: key('external addresses, separated by commas', (text) => list(text, parseIp), 'addresses'),
  address: key('one address', parseIp, 'address'),
  uplinks: key(UPLINKS, uplinkChoice, 'uplinks'),
  snat: key(YES_NO, yesNo, 'snat'),
  full: key(YES_NO, yesNo, 'full'),
}

/** The settings of all files, put together. */
interface SettingsRead {
  settings: Settings
  diagnostics: Diagnostic[]
  /** Text of each file that is there. */
  texts: Map<string, string>
}

/**
 * The settings of the files, the later over the earlier, and their faults. A missing file has no settings. For a file that
 * cannot be read or understood its last text stands (`before`), with a diagnostic; without a last text it throws Unreadable:
 * the installed rules stay rather than follow settings that lack a limit.
 */
export async function readSettings(
  files: readonly string[],
  before?: ReadonlyMap<string, string>,
  read: (file: string) => ConfigText | Promise<ConfigText> = readConfig,
): Promise<SettingsRead> {
  const settings: Settings = { ...DEFAULT_SETTINGS, guests: new Map() }
  let diagnostics: Diagnostic[] = []
  const texts = new Map<string, string>()
  for (const file of files) {
    const { text, reason } = await read(file)
    const last = reason === undefined ? text : before?.get(file)
    if (reason !== undefined) {
      if (!before) throw new Unreadable(`cannot use the settings in ${file}: ${reason}`)
      diagnostics.push(diagnose('settings-unusable', { file, span: { line: 1, from: 0, to: 0 } }, { reason }))
    }
    if (last === undefined) continue
    texts.set(file, last)
    diagnostics = diagnostics.concat(merge(settings, file, last))
  }
  return { settings, diagnostics, texts }
}

const MAX_CONFIG_BYTES = 2 ** 20

/** Neither for a file that is missing. */
interface ConfigText {
  text?: string
  /** Why it cannot be used. */
  reason?: string
}

/** The cluster's file, as the reader found it. */
export function configOf(found: string | Unread | undefined): ConfigText {
  if (found === undefined) return {}
  return typeof found === 'string' ? decode(Buffer.from(found, 'latin1')) : { reason: found.reason }
}

function decode(bytes: Uint8Array): ConfigText {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return text.includes('\0') ? { reason: 'it is no text' } : { text }
  } catch {
    return { reason: 'it is no text' }
  }
}

export async function readConfig(file: string): Promise<ConfigText> {
  try {
    const status = await stat(file)
    // Device 1:3 is /dev/null; systemd and administrators mask files with a link to it.
    if (status.isCharacterDevice() && status.rdev === (await stat('/dev/null')).rdev) return { text: '' }
    if (!status.isFile()) return { reason: 'it is no file' }
    if (status.size > MAX_CONFIG_BYTES) return { reason: 'it is larger than a megabyte' }
    return decode(await readFile(file))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? {} : { reason: String(code) }
  }
}

/**
 * `ini` reads the settings line by line: read as a whole it would tell no line numbers, take a header with a comment for a key,
 * make sections of dots and lists of `key[]`.
 */
function merge(settings: Settings, file: string, text: string): Diagnostic[] {
  let setter = noSection
  return text.split('\n').flatMap((line, index) => {
    const place = { file, span: { line: index + 1, from: 0, to: Buffer.byteLength(line) } }
    const content = line.trim()
    if (content === '' || /^[;#]/.test(content)) return []
    if (content.startsWith('[')) {
      const section = /^\[([^\]]*)\]\s*(?:[;#]|$)/.exec(content)?.[1]
      const found = section === undefined ? undefined : setterOf(settings, section)
      // The settings below an unknown header are ignored with it.
      setter = found ?? (() => [])
      return found ? [] : [unknownHeader(section ?? content, place)]
    }
    const [[name, value] = [content]] = Object.entries<unknown>(parse(content, { bracketedArray: false }))
    return setter(name, content.includes('=') ? String(value).trim() : '', place)
  })
}

function unknownHeader(section: string, place: Place): Diagnostic {
  const vmid = /[1-9]\d{2,9}/.exec(section)?.[0]
  const near = nearest(section, vmid === undefined ? ['nat'] : [`guest ${vmid}`])
  return diagnose('setting-unknown', place, { key: section, meant: near && `[${near}]` })
}

/** A setting above the first header. */
const noSection: Setter = (name, _, place) => [diagnose('setting-unknown', place, { key: name })]

/** Takes one setting of a section. */
type Setter = (name: string, value: string, place: Place) => Diagnostic[]

function setterOf(settings: Settings, section: string): Setter | undefined {
  if (section === 'nat') return (...setting) => set(NAT, settings, ...setting)
  const vmid = Number(/^guest ([1-9]\d{2,9})$/.exec(section)?.[1])
  if (Number.isNaN(vmid)) return undefined
  const guest = settings.guests.get(vmid) ?? {}
  settings.guests.set(vmid, guest)
  return (...setting) => set(GUEST, guest, ...setting)
}

function set<T>(
  keys: Record<string, Key<T>>,
  target: T,
  name: string,
  value: string,
  place: Place,
): Diagnostic[] {
  const known = Object.hasOwn(keys, name) ? keys[name] : undefined
  if (!known)
    return [diagnose('setting-unknown', place, { key: name, meant: nearest(name, Object.keys(keys)) })]
  const apply = known.read(value)
  if (!apply) return [diagnose('setting-value', place, { key: name, value, expected: known.expected })]
  apply(target)
  return []
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

function portRange(text: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:[-:](\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const [lo, hi] = [Number(match[1]), Number(match[2] ?? match[1])]
  return lo >= 1 && lo <= hi && hi <= 65535 ? [lo, hi] : undefined
}

function portRanges(text: string): PortRange[] | undefined {
  return list(text, portRange)
}

/** `20000-59999/20`; nothing at all means none. */
function guestBlocks(text: string): GuestBlocks | 'none' | undefined {
  if (text === '' || text === 'none') return 'none'
  const [, list = '', sizeText = ''] = /^(.*?)\s*\/\s*(\d+)$/.exec(text) ?? []
  const [ports, size] = [portRange(list), blockNumber(sizeText)]
  return ports && size !== undefined && size >= 1 && size <= ports[1] - ports[0] + 1
    ? { ports, size }
    : undefined
}

function blockNumber(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) ? Number(text) : undefined
}

function reservedPorts(text: string): ReservedPort[] | undefined {
  const found = addedToAuto<ReservedPort>(text, (item) => {
    const match = /^(tcp|udp):(.*)$/.exec(item)
    const ports = portRange(match?.[2] ?? '')
    return match && ports
      ? { proto: match[1] as 'tcp' | 'udp', ports, holder: 'reserved in the settings' }
      : undefined
  })
  return found && [...(found.auto ? DEFAULT_SETTINGS.reserved : []), ...found.items]
}

function interfaces(text: string): Settings['external'] | undefined {
  const found = addedToAuto(text, (one) => (INTERFACE.test(one) ? one : undefined))
  return found && { auto: found.auto, names: found.items }
}

function networks(text: string): Settings['internal'] | undefined {
  const found = addedToAuto(text, parseCidr)
  return found && { auto: found.auto, networks: found.items }
}

/** `auto`, `vmbr0, wg0`, or `+wg0`, which adds to auto. */
function addedToAuto<T>(
  text: string,
  read: (item: string) => T | undefined,
): { auto: boolean; items: T[] } | undefined {
  const named = text.replaceAll('+', ' ').replace(AUTO, ' ')
  const auto = text.startsWith('+') || AUTO.test(text)
  const items = auto && /^[\s,]*$/.test(named) && text !== '+' ? [] : list(named, read)
  return items && { auto, items }
}

/** The word, wherever it stands. */
const AUTO = /(?<![^\s,+])auto(?![^\s,+])/

function number(text: string, least: number, most: number): number | undefined {
  const value = Number(text)
  return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined
}

function uplinkChoice(text: string): UplinkChoice | undefined {
  if (text === 'none' || text === 'all') return text
  if (text === 'auto' || text === '') return 'auto'
  return list(text, (one) => (INTERFACE.test(one) ? one : undefined))
}

/** Bit 31 is Proxmox VE's. */
function uplinkMark(text: string): Settings['uplinkMark'] | undefined {
  const match = /^(0x[\da-f]{1,8})\/(0x[\da-f]{1,8})$/i.exec(text)
  const [first, mask] = [Number(match?.[1]), Number(match?.[2])]
  return first > 0 && mask < 2 ** 31 && (first & ~mask) === 0 ? { first, mask } : undefined
}
