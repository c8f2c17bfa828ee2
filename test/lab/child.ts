import { execa } from 'execa'
import { searchPath } from './machine.ts'

/** Put before a command, it ends that with the process that started it: a killed test run leaves nothing behind. */
export const dieWithParent: readonly string[] = ['setpriv', '--pdeathsig', 'KILL', '--']

export type Child = ReturnType<typeof startChild>

/** Starts a process with all three pipes open; its promise resolves at its end, however it went. */
// eslint-disable-next-line @typescript-eslint/explicit-module-boundary-types -- execa's type has no shorter name
export function startChild(file: string, args: readonly string[], env: Record<string, string> = {}) {
  return execa(file, args, { env: { PATH: searchPath, ...env }, stdin: 'pipe', buffer: false, reject: false })
}
