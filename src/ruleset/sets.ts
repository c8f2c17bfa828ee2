/** Desired and installed sets → the smallest diff, as text for `ipset restore`. */
import type { KernelSet } from '../nat/nat-rule.ts'
import type { Change } from './change.ts'
import type { SavedSet } from './installed.ts'

/**
 * Lines for `ipset restore` that turn the installed sets into the desired ones; each difference is added to `changes`. Sets that are no longer
 * desired are destroyed later, when no rule uses them.
 */
export function planSets(
  wanted: readonly KernelSet[],
  installed: ReadonlyMap<string, SavedSet>,
  changes: Change[],
): string {
  const free = freshNames(installed)
  const lines = wanted.flatMap((set) => {
    const saved = installed.get(set.name)
    if (saved && sameSet(saved, set)) return []
    const old = new Set(saved?.entries)
    const added = set.entries.filter((entry) => !old.has(entry))
    const kept = new Set(set.entries)
    const removed = saved?.entries.filter((entry) => !kept.has(entry)) ?? []
    changes.push({
      kind: saved ? 'replace' : 'add',
      what: `set ${set.name}`,
      family: set.family,
      removed,
      added,
    })
    if (!saved) return filled(set.name, set)
    if (set.type === 'hash:ip,port' && hasRoom(saved, set)) return exchanged(set.name, removed, added)
    return swapped(set, free())
  })
  return lines.map((line) => `${line}\n`).join('')
}

function filled(name: string, set: KernelSet): string[] {
  return [createLine(name, set), ...set.entries.map((entry) => addLine(name, entry))]
}

/** A member that another program added or removed is no error: the set is read back later. */
function exchanged(name: string, removed: readonly string[], added: readonly string[]): string[] {
  return [
    ...removed.map((entry) => `del ${name} ${entry} -exist`),
    ...added.map((entry) => `${addLine(name, entry)} -exist`),
  ]
}

/**
 * A set of clients must never hold a mixture of old and new: ipset restore is not atomic, swap is. The old content is
 * then under the fresh name and destroyed. Pairs of forwards come and go singly instead: each pair serves a single forward.
 */
function swapped(set: KernelSet, fresh: string): string[] {
  return [...filled(fresh, set), `swap ${fresh} ${set.name}`, `destroy ${fresh}`]
}

/** Unused names; a crash may have left sets behind. */
function freshNames(installed: ReadonlyMap<string, SavedSet>): () => string {
  let next = 0
  return () => {
    while (installed.has(`pvenat-tmp-${next}`)) next++
    return `pvenat-tmp-${next++}`
  }
}

function hasRoom(saved: SavedSet, { type, family, entries }: KernelSet): boolean {
  return saved.type === type && saved.family === family && saved.maxelem >= entries.length
}

function sameSet(saved: SavedSet, set: KernelSet): boolean {
  return (
    hasRoom(saved, set) &&
    saved.entries.length === set.entries.length &&
    saved.entries.every((entry, i) => entry === set.entries[i])
  )
}

/** The line that creates a set; `maxelem` grows in powers of two with its entries. */
function createLine(name: string, { type, family, entries }: KernelSet): string {
  let size = 64
  while (size < entries.length) size *= 2
  return `create ${name} ${type} family ${family === 4 ? 'inet' : 'inet6'} hashsize 64 maxelem ${size}`
}

function addLine(name: string, entry: string): string {
  return `add ${name} ${entry}`
}
