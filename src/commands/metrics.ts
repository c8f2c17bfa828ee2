/** `metrics`: the same figures as `/metrics` of the page, for node_exporter's textfile collector. */
import { UsageError } from '../io.ts'
import { chmod } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { writeWhole } from '../node/state.ts'
import { DEFAULT_TOP, renderMetrics } from '../show/metrics.ts'
import { readFolder } from '../node/published.ts'
import type { Context } from './context.ts'

export async function metricsCommand({ io, paths, values }: Context): Promise<number> {
  const top = values.top === undefined ? DEFAULT_TOP : Number(values.top)
  if (!Number.isInteger(top) || top < 0 || top > 10_000)
    throw new UsageError('--top takes a number from 0 to 10000')
  const text = renderMetrics(await readFolder(paths.runDir), Date.now(), top)
  if (values.output === undefined) io.stdout(text)
  else await writeReadable(String(values.output), text)
  return 0
}

/** In one step, and for everybody to read: node_exporter is not root. */
async function writeReadable(path: string, text: string): Promise<void> {
  await writeWhole(dirname(path), basename(path), text)
  await chmod(join(dirname(path), basename(path)), 0o644)
}
