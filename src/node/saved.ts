/** What the service put into force last, so that it can be put back at boot, before anybody can read the cluster's files. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FAMILIES, type Family } from '../address.ts'
import type { Ruleset } from '../ruleset/model.ts'
import { isEmpty, planText, toText, type TextRuleset } from '../ruleset/plan.ts'
import type { Backend } from '../facts/backend.ts'
import { realKernel } from './kernel.ts'
import { readState, writeState, writeWhole } from './state.ts'

const FILE = 'inforce.json'

interface Saved {
  version: 1
  backend: Backend
  ruleset: TextRuleset
  loop: Family[]
  /** Path below /proc/sys → value. */
  sysctls: [string, string][]
}

/** Saves it whole, for root alone. */
export async function saveInForce(
  stateDir: string,
  backend: Backend,
  ruleset: Ruleset,
  sysctls: ReadonlyMap<string, string>,
): Promise<void> {
  const saved: Saved = {
    version: 1,
    backend,
    loop: ruleset.loop,
    ruleset: toText(ruleset),
    sysctls: [...sysctls],
  }
  await writeWhole(stateDir, FILE, JSON.stringify(saved))
}

type Restored = 'restored' | 'in force' | 'nothing saved'

/**
 * Puts into force what was saved, unless rules of ours are in force. What only root can have written is taken as it is: it was
 * in force before. Throws when it makes no sense, or the kernel does not take it.
 */
export async function restoreSaved(stateDir: string, warn: (message: string) => void): Promise<Restored> {
  const saved = await readSaved(stateDir)
  if (!saved || FAMILIES.every((family) => saved.ruleset.chains[family].length === 0)) return 'nothing saved'
  const kernel = realKernel(saved.backend, warn)
  const inForce = await kernel.read()
  if (FAMILIES.some((family) => inForce.chains[family].own.size > 0)) return 'in force'
  if (saved.loop.length > 0 && !(await kernel.hasLoop(saved.loop))) await kernel.setLoop(saved.loop)
  const plan = planText(saved.ruleset, inForce)
  if (!isEmpty(plan)) await kernel.write(plan)
  await switchOn(saved.sysctls, stateDir)
  return 'restored'
}

async function readSaved(stateDir: string): Promise<Saved | undefined> {
  const file = join(stateDir, FILE)
  const status = await stat(file).catch(() => undefined)
  if (!status) return undefined
  if (status.uid !== 0 || (status.mode & 0o022) !== 0)
    throw new Error(`${file} is not root's alone; it is not used`)
  const saved = parse(await readFile(file, 'utf8'))
  if (saved?.version !== 1) throw new Error(`${file} makes no sense; it is not used`)
  return saved
}

function parse(text: string): Saved | undefined {
  try {
    return JSON.parse(text) as Saved
  } catch {
    return undefined
  }
}

/** Remembers what they were, for rollback, unless that is known from before. */
async function switchOn(sysctls: Saved['sysctls'], stateDir: string): Promise<void> {
  const kernel = realKernel('legacy', () => undefined)
  const changed = new Map<string, { old: string; value: string }>()
  for (const [path, value] of sysctls) {
    const old = await kernel.sysctl(path)
    const isChosen = path.endsWith('/accept_ra') && old === '0'
    if (old !== undefined && old !== value && !isChosen) changed.set(path, { old, value })
  }
  const state = await readState(stateDir)
  const olds = Object.fromEntries([...changed].map(([path, { old }]) => [path, old]))
  if (changed.size > 0) await writeState(stateDir, { ...state, sysctls: { ...olds, ...state.sysctls } })
  for (const [path, { value }] of changed) await kernel.setSysctl(path, value)
}
