/** A look that can be believed: a file may be caught half-written, so what is new must read the same twice. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Tree } from '../read.ts'
import { look, type Looked, type Paths } from './look.ts'

const CONFIRM_MS = 20
/** Truncating and writing are two steps; PVE itself deletes a file rather than leave it empty. */
const CONFIRM_EMPTY_MS = 500
/** Somebody who writes all the time gets what there is. */
const MAX_LOOKS = 10

/** Looks until two looks in a row agree. `before` is the tree that is in force: what agrees with it needs no second look. */
export async function steadyLook(paths: Paths, before?: Tree): Promise<Looked> {
  let last = await look(paths, before)
  if (before && sameTree(before, last.tree)) return last
  for (let looks = 1; looks < MAX_LOOKS; looks++) {
    await delay(before && emptied(before, last.tree) ? CONFIRM_EMPTY_MS : CONFIRM_MS)
    const next = await look(paths, last.tree)
    if (sameTree(last.tree, next.tree)) return next
    last = next
  }
  return last
}

function sameTree(a: Tree, b: Tree): boolean {
  return sameMap(a.fw, b.fw) && sameMap(a.owners, b.owners) && sameMap(configs(a), configs(b))
}

function configs({ guests }: Tree): Map<number, string> {
  return new Map(guests.map(({ vmid, config }) => [vmid, config]))
}

function sameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
}

function emptied(before: Tree, now: Tree): boolean {
  return [...now.fw].some(([file, text]) => text === '' && (before.fw.get(file) ?? '') !== '')
}
