/** A look that can be believed: a file may be caught half-written, so what is new must read the same twice. */
import { setTimeout as delay } from 'node:timers/promises'
import { sameValue } from '../memo.ts'
import type { Tree } from '../read.ts'
import { look, type Looked, type Paths } from './look.ts'
import type { Senses } from './senses.ts'

const CONFIRM_MS = 20
/** Truncating and writing are two steps; PVE itself deletes a file rather than leave it empty. */
const CONFIRM_EMPTY_MS = 500
/** Somebody who writes all the time gets what there is. */
const MAX_LOOKS = 10

/** Looks until two looks in a row agree. `before` is the tree that is in force: what agrees with it needs no second look. */
export async function steadyLook(paths: Paths, before?: Tree, senses?: Senses): Promise<Looked> {
  let last = await look(paths, before, senses)
  if (before && sameTree(before, last.tree)) return last
  for (let looks = 1; looks < MAX_LOOKS; looks++) {
    await delay(before && emptied(before, last.tree) ? CONFIRM_EMPTY_MS : CONFIRM_MS)
    const next = await look(paths, last.tree, senses)
    if (sameTree(last.tree, next.tree)) return next
    last = next
  }
  return last
}

function sameTree(a: Tree, b: Tree): boolean {
  return sameValue(a.fw, b.fw) && sameValue(a.owners, b.owners) && sameValue(a.guests, b.guests)
}

function emptied(before: Tree, now: Tree): boolean {
  return [...now.fw].some(([file, text]) => text === '' && (before.fw.get(file) ?? '') !== '')
}
