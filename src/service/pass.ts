/** One pass of the service: what was looked at is put into force, kept, saved for the next boot, and told. */
import { apply, type Applied } from '../node/apply.ts'
import type { Backend } from '../facts/backend.ts'
import { chooseBackend } from '../node/backend.ts'
import { realKernel, type WatchedKernel } from '../node/kernel.ts'
import { sourcesOf, type Looked } from '../node/look.ts'
import { saveInForce } from '../node/saved.ts'
import { locate } from '../show/diagnostics.ts'
import { wantedSysctls } from '../sysctls.ts'
import { watchKernel } from './drift.ts'
import { areRulesDrifted, fingerprint, isRestDrifted } from './kept.ts'
import type { Memory } from './memory.ts'
import { sweepOther } from './sweep.ts'

/** Nobody takes what it changes meanwhile for a change by others. */
export async function passing<T>({ drift }: Memory, pass: () => Promise<T>): Promise<T> {
  const passed = drift?.passing()
  let isRight = false
  try {
    const result = await pass()
    isRight = true
    return result
  } finally {
    passed?.(isRight)
  }
}

export async function applyLook(looked: Looked, memory: Memory): Promise<void> {
  const backend = await chooseBackend(looked.settings)
  const { paths, drift, troubles, quarantine } = memory
  const kernel = kernelOf(backend, memory)
  const due = { flows: memory.staleFlows.ask(), quarantined: quarantine.isDue() }
  const start = performance.now()
  const stands = memory.backend === backend && drift?.isSure() === true
  const spared = { memo: memory.memo, before: memory.kept, stands }
  const applied = await apply(looked, kernel, paths.stateDir, troubles.warn, due, spared)
  memory.staleFlows.passed(kernel, applied.flows, applied.flowsDue)
  const tookMs = performance.now() - start
  if (backend !== memory.backend) await follow(backend, memory)
  const isRepair = await keep(looked, applied, kernel, memory, backend)
  quarantine.note(applied.quarantined)
  memory.sightings = applied.outcome.view.sightings
  tell(looked, applied, { backend, tookMs, isRepair }, memory)
}

/** It tells the watch when everything is read. */
function kernelOf(backend: Backend, memory: Memory): WatchedKernel {
  const kernel = realKernel(backend, memory.troubles.warn)
  return {
    ...kernel,
    read: (before) => {
      memory.drift?.reading()
      return kernel.read(before)
    },
  }
}

/** The backend is another one than before: the old one is swept, the new one watched. */
async function follow(backend: Backend, memory: Memory): Promise<void> {
  const { troubles, journal, fight, hint } = memory
  await sweepOther(backend, troubles.warn, journal)
  memory.drift?.close()
  memory.drift = watchKernel(
    backend,
    {
      areRulesDrifted: async () => memory.kept !== undefined && (await areRulesDrifted(memory.kept)),
      isRestDrifted: async () =>
        memory.kept !== undefined && (await isRestDrifted(memory.kept, memory.members)),
    },
    () => fight.later(hint),
  )
  memory.backend = backend
}

/** Remembers what is in force; returns whether the very same was before, so that all that was written was a repair. */
async function keep(
  { network }: Looked,
  { outcome: { ruleset }, readBack }: Applied,
  kernel: WatchedKernel,
  memory: Memory,
  backend: Backend,
): Promise<boolean> {
  const { kept: before, paths, journal } = memory
  const isSame = before?.ruleset === ruleset
  const names = network.external.map(({ name }) => name)
  const sysctls = wantedSysctls(ruleset, names)
  const kept = {
    kernel,
    ruleset,
    sysctls: new Map([...sysctls].filter(([path]) => !path.endsWith('/accept_ra'))),
    fingerprint: isSame ? before.fingerprint : fingerprint(ruleset),
    inForce: readBack,
    glanced: isSame ? before.glanced : undefined,
  }
  memory.kept = kept
  if (!isSame) memory.rest()
  if (before?.fingerprint === kept.fingerprint) return true
  await saveInForce(paths.stateDir, backend, ruleset, sysctls).catch((error: Error) =>
    journal.warning(`cannot save what is in force for the next boot: ${error.message}`),
  )
  return false
}

function tell(
  looked: Looked,
  applied: Applied,
  facts: { backend: Backend; tookMs: number; isRepair: boolean },
  { paths, publisher, voice }: Memory,
): void {
  const sources = sourcesOf(looked)
  const all = [...looked.settingsDiagnostics, ...applied.outcome.translation.diagnostics]
  const located = locate(all, sources, paths.pveDir)
  const stale = looked.tree.stale ?? []
  const changes = publisher.passed({ applied, located, sources, stale, ...facts })
  voice.applied(applied, changes, facts.isRepair, facts.tookMs)
  voice.passed(located, stale)
}
