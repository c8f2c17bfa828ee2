import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The tree that the default lab is wired for. */
export const node1Tree = fileURLToPath(new URL('../../fixtures/node1', import.meta.url))

/** A scratch copy of a fixture tree, symlinks as they are. The caller removes it with `removeTree`. */
export async function copyTree(source: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-tree-'))
  await cp(source, dir, { recursive: true, verbatimSymlinks: true })
  return dir
}

/** Removes a copy that `copyTree` made. */
export async function removeTree(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
}

/** Saves as the API behind the GUI does: a temporary file beside it, then a rename. */
export async function saveLikeGui(dir: string, name: string, text: string): Promise<void> {
  const path = join(dir, name)
  const temporary = `${path}.tmp.${process.pid}`
  await writeFile(temporary, text)
  await rename(temporary, path)
}

/** Saves as many editors do: the same file truncated and written again. */
export async function saveInPlace(dir: string, name: string, text: string): Promise<void> {
  await writeFile(join(dir, name), text)
}

/** A .fw file as the GUI writes it, switched on; the first rule is its line 7. */
export const fwFile = (...rules: readonly string[]): string =>
  `[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n${rules.join('\n')}\n\n`
