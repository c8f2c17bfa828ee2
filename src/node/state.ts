/** State that survives a restart: old values of sysctls, rights of guests, ports of the node. Written by rename, readable by root alone. */
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { field, listOf, parseJson } from '../json.ts'
import type { StoredPort } from '../nat/node-ports.ts'
import type { Remembered } from '../remembered.ts'
import { isGateway, type StoredUplink } from '../uplinks.ts'
import { codeOf } from './tree.ts'

export interface State extends Remembered {
  version: 2
  /** Path below /proc/sys → the value before the first change. */
  sysctls: Record<string, string>
  /** External endpoints that were in force last, as `endpointLines` has them: flows to them may have to be ended. */
  endpoints: string[]
}

const EMPTY: State = {
  version: 2,
  sysctls: {},
  endpoints: [],
  rights: undefined,
  guests: {},
  missing: {},
  nodePorts: [],
  uplinks: [],
}

/**
 * The state. When it is missing or invalid (then `warn` is called), rights come from the ruleset saved for the next boot, and the old values of
 * sysctls are lost. Throws Unreadable when it cannot be read at the moment.
 */
export async function readState(
  dir: string,
  warn: (message: string) => void = () => undefined,
): Promise<State> {
  const file = join(dir, 'state.json')
  const { text, code } = await readText(file)
  // Commands that only look need not be root.
  if (code !== undefined && code !== 'ENOENT' && code !== 'EACCES')
    warn(`cannot read ${file}: ${code}; the old values of sysctls are lost`)
  const state = text === undefined ? undefined : parseState(text)
  if (text !== undefined && !state) warn(`${file} makes no sense; the old values of sysctls are lost`)
  if (state?.rights) return state
  const { text: saved = '' } = await readText(join(dir, SAVED_FILE))
  return withoutRights(state, saved)
}

export const SAVED_FILE = 'inforce.json'

/** A state without rights, with the rights of a `Saved` or of RIGHTS_FILE (`saved`). */
export function withoutRights(state: State | undefined, saved: string): State {
  const ledger = field(parseJson(saved), 'ledger')
  const [rights, guests] = [field(ledger, 'rights'), field(ledger, 'guests')]
  return { ...EMPTY, ...state, ...(isTexts(rights) && isRecord(guests, 'string') ? { rights, guests } : {}) }
}

async function readText(file: string): Promise<{ text?: string; code?: string }> {
  try {
    return { text: await readFile(file, 'utf8') }
  } catch (error) {
    return { code: codeOf(file, error) }
  }
}

/** Undefined for a text that makes no sense. */
export function parseState(text: string): State | undefined {
  const all = parseJson(text)
  if (!isRecord(all)) return undefined
  const { version, sysctls = {}, endpoints = [], missing = {}, nodePorts = [], uplinks = [] } = all
  const { rights, guests = {}, incumbents } = all
  if (!isRecord(sysctls, 'string') || !isTexts(endpoints)) return undefined
  if (version !== 2) {
    const old = isTexts(incumbents) ? incumbents.flatMap(oldRight) : undefined
    const owners = Object.fromEntries(
      (old ?? []).map((line): [string, string] => [line.split(' ')[0] ?? '', ' ']),
    )
    return { ...EMPTY, sysctls, endpoints, rights: old, guests: owners }
  }
  if (!isRecord(guests, 'string') || !isRecord(missing, 'number')) return undefined
  if (rights !== undefined && !isTexts(rights)) return undefined
  const ports = listOf(nodePorts).filter(isStoredPort)
  const links = listOf(uplinks).filter(isStoredUplink)
  return { version, sysctls, endpoints, rights, guests, missing, nodePorts: ports, uplinks: links }
}

/** A line of version 1: `VMID FAMILY ADDRESS SOURCE PROTOCOL LO-HI INNER`. */
function oldRight(line: string): string[] {
  const [vmid, family, address, source, proto, ports, inner] = line.split(' ')
  if (inner === undefined) return []
  const at = address === '*' ? `*${family}` : address
  const clients = proto === 'all' ? 'any' : source
  return [`${vmid} ${proto} ${ports} ${clients} ${at}`, `${vmid} inner - any ${inner}`]
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function isRecord(value: unknown): value is Record<string, unknown>
function isRecord(value: unknown, of: 'string'): value is Record<string, string>
function isRecord(value: unknown, of: 'number'): value is Record<string, number>
function isRecord(value: unknown, of?: 'string' | 'number'): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return of === undefined || Object.values(value).every((one) => typeof one === of)
}

function isStoredPort(value: unknown): value is StoredPort {
  const [ports, until] = [field(value, 'ports'), field(value, 'until')]
  const isPorts = (list: unknown): boolean =>
    Array.isArray(list) && list.length === 2 && list.every((one) => typeof one === 'number')
  const texts = ['proto', 'holder'].every((name) => typeof field(value, name) === 'string')
  const isUntil = until === undefined || typeof until === 'number'
  return texts && (ports === undefined || isPorts(ports)) && isUntil
}

function isStoredUplink(value: unknown): value is StoredUplink {
  const [name, index, ways, goneAt] = ['name', 'index', 'ways', 'goneAt'].map((key) => field(value, key))
  const hasTexts = ['addresses', 'networks'].every((key) => isTexts(field(value, key)))
  const isWay = (way: unknown): boolean => {
    const gateway = field(way, 'gateway')
    return isRecord(way) && (gateway === undefined || (typeof gateway === 'string' && isGateway(gateway)))
  }
  const isGone = goneAt === undefined || typeof goneAt === 'number'
  const isFormer = (one: unknown): boolean =>
    typeof field(one, 'address') === 'string' && typeof field(one, 'goneAt') === 'number'
  const hasWays = isRecord(ways) && Object.values(ways).every(isWay)
  return (
    typeof name === 'string' &&
    isIndex(index) &&
    hasTexts &&
    hasWays &&
    isGone &&
    listOf(field(value, 'former')).every(isFormer)
  )
}

function isIndex(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 1000
}

/** A disk that is full must not keep NAT from working; `warn` hears that nothing is remembered. Returns whether it is. */
export async function saveState(
  dir: string,
  state: State,
  warn: (message: string) => void,
): Promise<boolean> {
  try {
    await writeWhole(dir, 'state.json', JSON.stringify(state, null, 1) + '\n')
    return true
  } catch (error) {
    warn(
      `cannot write ${dir}/state.json: ${(error as Error).message}; NAT works, but the rights of guests are not saved`,
    )
    return false
  }
}

/** Every file that pvenat keeps in the state folder. */
export const STATE_FILES: readonly string[] = ['state.json', 'inforce.json']

/** Who may read a file of ours and look into its folder: root alone, or also the group of the folder. */
type Readers = 'root' | 'group'

/** Replaces a file of ours in one step: readers see the old or the new one. A folder that is there keeps its mode. */
export async function writeWhole(
  dir: string,
  name: string,
  text: string,
  readers: Readers = 'root',
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: readers === 'root' ? 0o700 : 0o750 })
  const temporary = join(dir, `.${name}.${process.pid}`)
  const file = await open(temporary, 'w', 0o600)
  try {
    // Independent of the umask.
    if (readers === 'group') await file.chmod(0o640)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(dir, name))
}
