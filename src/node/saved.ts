/** The ruleset that the service put into force last. It is put back at boot, and whenever the cluster's files cannot be read. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Family } from '../address.ts'
import type { Backend } from '../facts/backend.ts'
import { shortHash } from '../hash.ts'
import { EMPTY_PLAN, isEmpty, planText, toText, type Plan, type TextRuleset } from '../ruleset/plan.ts'
import type { Look } from '../read.ts'
import type { SavedLedger } from '../remembered.ts'
import { wantedSysctls } from '../sysctls.ts'
import { zoneOnBridges, type Applied } from './apply.ts'
import type { Kernel } from './kernel.ts'
import { RoutingRefused } from './routing.ts'
import { SAVED_FILE, writeWhole } from './state.ts'
import { differingSysctls, switchSysctls } from './sysctls.ts'

export interface Saved {
  version: 1
  backend: Backend
  ruleset: TextRuleset
  loop: Family[]
  /** Missing in files of older versions. */
  hasBridgeZone?: boolean
  /** Path below /proc/sys → value. */
  sysctls: [string, string][]
  /** The rights of guests, in case that the state is lost. */
  ledger?: SavedLedger
}

/** The ruleset that was applied through a backend, with its rights. */
export function savedOf(
  { outcome: { ruleset }, remembered: { rights, guests } }: Pick<Applied, 'outcome' | 'remembered'>,
  { network }: Pick<Look, 'network'>,
  backend: Backend,
): Saved {
  const sysctls = wantedSysctls(ruleset, network)
  const { loop, hasBridgeZone } = ruleset
  const asked = { loop, hasBridgeZone, ruleset: toText(ruleset), sysctls: [...sysctls] }
  return { version: 1, backend, ...asked, ledger: { rights, guests } }
}

/** Equal for equal rulesets: the hash of a chain's last rule rests on all rules before it. */
export function fingerprint({
  ruleset: { chains, sets, routing },
  backend,
  loop,
  hasBridgeZone = false,
  sysctls,
}: Saved): string {
  const rules = [...chains[4], ...chains[6]].map(({ table, name, rules: all }) => [
    table,
    name,
    all.at(-1)?.hash,
  ])
  return shortHash(JSON.stringify([rules, sets, routing, backend, loop, hasBridgeZone, sysctls]))
}

/** Whole, for root alone. */
export async function writeSaved(stateDir: string, saved: Saved): Promise<void> {
  await writeWhole(stateDir, SAVED_FILE, JSON.stringify(saved))
}

/** A file that only root can have written is believed: its ruleset was in force before. Throws when it makes no sense. */
export async function readSaved(stateDir: string): Promise<Saved | undefined> {
  const file = join(stateDir, SAVED_FILE)
  const status = await stat(file).catch(() => undefined)
  if (!status) return undefined
  if (status.uid !== 0 || (status.mode & 0o022) !== 0)
    throw new Error(`${file} is not root's alone; it is not used`)
  const saved = parse(await readFile(file, 'utf8'))
  if (saved?.version !== 1) throw new Error(`${file} makes no sense; it is not used`)
  return saved
}

/** The writes that put a saved ruleset into force. */
interface PutBack {
  plan: Plan
  madeLoop: boolean
  sysctls: string[]
}

/** Writes the parts that are not in force. Throws when the kernel cannot be read or refuses them; `warn` gets lesser faults. */
export async function putBack(
  saved: Saved,
  kernel: Kernel,
  stateDir: string,
  warn: (message: string) => void,
): Promise<PutBack> {
  await zoneOnBridges({ hasBridgeZone: saved.hasBridgeZone ?? false }, kernel)
  const plan = planText(saved.ruleset, await kernel.read())
  const madeLoop = saved.loop.length > 0 && !(await kernel.hasLoop(saved.loop))
  if (madeLoop) await kernel.setLoop(saved.loop)
  if (!isEmpty(plan)) await writeWithLinks(plan, kernel)
  const changes = await differingSysctls(saved.sysctls, kernel)
  return { plan, madeLoop, sysctls: await switchSysctls(changes, kernel, stateDir, warn) }
}

/** At boot a link may be missing: answers then wait for it, and nothing else does. */
async function writeWithLinks(plan: Plan, kernel: Kernel): Promise<void> {
  try {
    await kernel.write(plan)
  } catch (error) {
    if (!(error instanceof RoutingRefused)) throw error
    await kernel.write({ ...plan, routing: EMPTY_PLAN.routing })
  }
}

export function isNothing({ plan, madeLoop, sysctls }: PutBack): boolean {
  return isEmpty(plan) && !madeLoop && sysctls.length === 0
}

function parse(text: string): Saved | undefined {
  try {
    return JSON.parse(text) as Saved
  } catch {
    return undefined
  }
}
