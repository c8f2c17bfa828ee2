/** Switches sysctls that NAT needs, and remembers their old values for rollback. */
import { neededValue } from '../sysctls.ts'
import type { Kernel } from './kernel.ts'
import { readState, saveState, type State } from './state.ts'

/** Old and new values by path below /proc/sys. */
export type SysctlChanges = ReadonlyMap<string, { old: string; value: string }>

/** The sysctls that do not have the wanted values. */
export async function differingSysctls(
  wanted: Iterable<readonly [path: string, value: string]>,
  { sysctl }: Pick<Kernel, 'sysctl'>,
): Promise<SysctlChanges> {
  const changes = new Map<string, { old: string; value: string }>()
  for (const [path, value] of wanted) {
    const needed = await neededValue(path, value, sysctl)
    if (needed) changes.set(path, needed)
  }
  return changes
}

/** A value from before the first change is never overwritten. */
export function withOldValues({ sysctls }: Pick<State, 'sysctls'>, changes: SysctlChanges): State['sysctls'] {
  return { ...Object.fromEntries([...changes].map(([path, { old }]) => [path, old])), ...sysctls }
}

export async function setSysctls(
  changes: SysctlChanges,
  { setSysctl }: Pick<Kernel, 'setSysctl'>,
): Promise<string[]> {
  for (const [path, { value }] of changes) await setSysctl(path, value)
  return [...changes.keys()]
}

/** Remembers, then switches; a disk that takes nothing keeps no sysctl from being switched. Returns the paths. */
export async function switchSysctls(
  changes: SysctlChanges,
  kernel: Pick<Kernel, 'setSysctl'>,
  stateDir: string,
  warn: (message: string) => void,
): Promise<string[]> {
  if (changes.size === 0) return []
  const state = await readState(stateDir, warn)
  await saveState(stateDir, { ...state, sysctls: withOldValues(state, changes) }, warn)
  return setSysctls(changes, kernel)
}
