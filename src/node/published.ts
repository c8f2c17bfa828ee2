/** What the service publishes in its run folder, for the page, for figures and for commands that cannot look themselves. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { field, members, parseJson } from '../json.ts'
import type { Row } from '../show/list.ts'
import type { UplinkCounters } from '../show/uplink-counters.ts'
import type { Status } from '../show/status.ts'

/** A diagnostic with the line that it points into. */
export type Problem = Status['diagnostics'][number]

/** counters.json: packets and bytes of each rule by its id, and those of several uplinks, as the kernel had them at that time. */
export interface Counters {
  at: string
  rules: ReadonlyMap<string, readonly [packets: number, bytes: number]>
  /** By name; none where there is one uplink. */
  uplinks?: ReadonlyMap<string, UplinkCounters>
}

/** What stands in the folder. A part is undefined while its file is not there or makes no sense. */
export interface Published {
  status: Status | undefined
  rows: Row[] | undefined
  counters: Counters | undefined
}

type Part = keyof Published

/** Their names; each is replaced in one step. */
export const FILES: Readonly<Record<Part, string>> = {
  status: 'status.json',
  rows: 'list.json',
  counters: 'counters.json',
}

/** The block of ports of every guest (show/blocks.ts); only there with the setting guest-block. */
export const BLOCKS_FILE = 'blocks.json'

/** The rights of the rules that are loaded: both last until the next boot. As in `Saved`, in case that the state folder loses its files. */
export const RIGHTS_FILE = 'rights.json'

const PARSERS: { readonly [P in Part]: (text: string) => Published[P] } = {
  status: toStatus,
  rows: toRows,
  counters: toCounters,
}

/** A file of ten thousand rules has some megabytes; what is longer is not ours. */
const MAX_BYTES = 64 * 1024 * 1024

/** All three files, once. */
export async function readFolder(runDir: string): Promise<Published> {
  const folder = openFolder(runDir)
  await folder.refresh()
  return folder.published
}

interface Folder {
  readonly published: Published
  /** Reads the files that are new, and tells which. */
  refresh: () => Promise<Part[]>
}

/** The folder with the content of its files as they were read last. */
export function openFolder(runDir: string): Folder {
  const published: Published = { status: undefined, rows: undefined, counters: undefined }
  const seen = new Map<Part, string>()
  const isNew = async <P extends Part>(part: P): Promise<boolean> => {
    const file = join(runDir, FILES[part])
    const found = await stat(file).catch(() => undefined)
    const key = found ? `${found.ino} ${found.mtimeMs} ${found.size}` : ''
    if (key === (seen.get(part) ?? '')) return false
    seen.set(part, key)
    const text = found && found.size <= MAX_BYTES ? await readFile(file, 'utf8').catch(() => '') : ''
    published[part] = PARSERS[part](text)
    return true
  }
  const refresh = async (): Promise<Part[]> => {
    const changed: Part[] = []
    for (const part of Object.keys(FILES) as Part[]) if (await isNew(part)) changed.push(part)
    return changed
  }
  return { published, refresh }
}

/** Undefined also when another version wrote it. */
function toStatus(text: string): Status | undefined {
  const value = parseJson(text)
  const isWhole =
    typeof field(value, 'inStep') === 'boolean' &&
    typeof field(value, 'updatedAt') === 'string' &&
    Array.isArray(field(field(value, 'rules'), 'first')) &&
    ['external', 'internal', 'diagnostics'].every((key) => Array.isArray(field(value, key)))
  return isWhole ? (value as Status) : undefined
}

function toRows(text: string): Row[] | undefined {
  const value = parseJson(text)
  return Array.isArray(value)
    ? (value as Row[]).filter((row) => typeof field(row, 'id') === 'string')
    : undefined
}

function toCounters(text: string): Counters | undefined {
  const value = parseJson(text)
  const at = field(value, 'at')
  if (typeof at !== 'string') return undefined
  const numbers = (key: string): [string, number[]][] =>
    members(field(value, key)).flatMap(([id, all]): [string, number[]][] =>
      Array.isArray(all) ? [[id, all.map((one) => Number(one) || 0)]] : [],
    )
  const rules = numbers('rules').map(([id, [packets = 0, bytes = 0]]) => [id, [packets, bytes]] as const)
  const uplinks = numbers('uplinks').map(
    ([name, [came = 0, left = 0, bytes = 0]]) => [name, [came, left, bytes]] as const,
  )
  return { at, rules: new Map(rules), uplinks: new Map(uplinks) }
}
