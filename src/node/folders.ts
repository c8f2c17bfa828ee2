/** Removes a folder of pvenat: the files that pvenat makes, then the folder itself if nothing else is in it. */
import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemReason } from './system-error.ts'

/**
 * `told` gets each path that is removed (or would be). When a path cannot be removed, it continues and throws at the end. A mount point is
 * emptied but stays, and so does a folder with files of other programs; `warn` gets a message for each.
 */
export async function removeFolder(
  folder: string,
  files: readonly string[],
  dryRun: boolean,
  told: (path: string) => void,
  warn: (message: string) => void,
): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!names) return
  const own = names.filter((name) => files.includes(name) || isTemporary(name, files))
  let failure: unknown
  for (const path of own.map((name) => join(folder, name)))
    try {
      if (!dryRun) await rm(path)
      told(path)
    } catch (error) {
      failure = error
    }
  const others = names.filter((name) => !own.includes(name))
  if (others.length > 0) warn(`${folder} stays: ${others.slice(0, 3).join(', ')} in it is not pvenat's`)
  else if (dryRun) told(folder)
  else if (failure === undefined)
    await rmdir(folder).then(
      () => told(folder),
      (error: unknown) => warn(`${folder} is empty but stays: ${systemReason(error)}`),
    )
  if (failure !== undefined) throw failure as Error
}

/** `writeWhole` was ended half-way: `.NAME.PID`. */
function isTemporary(name: string, files: readonly string[]): boolean {
  return files.some((file) => name.startsWith(`.${file}.`) && /\.\d+$/.test(name))
}
