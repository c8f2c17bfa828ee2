/**
 * `run`: the service. Events only say "look again", a timer says the same; every look reads the whole truth and puts into force
 * what differs. Whatever cannot be read leaves everything as it is.
 */
import type { Io } from '../io.ts'
import { NotInForce } from '../node/apply.ts'
import type { Looked, Paths } from '../node/look.ts'
import { monitorNetwork } from '../node/monitor.ts'
import { restoreSaved } from '../node/saved.ts'
import { steadyLook } from '../node/steady.ts'
import { writePid } from '../node/unit.ts'
import { isEmpty } from '../ruleset/plan.ts'
import { makeJournal } from './journal.ts'
import { keepInForce } from './kept.ts'
import { makeMemory, type Memory } from './memory.ts'
import { makeNotify } from './notify.ts'
import { applyLook, passing } from './pass.ts'
import { makeWakeup } from './wakeup.ts'
import { watchFiles } from './watch.ts'

/** A guest that is missing from .vmlist may be between two nodes; only after this long it counts as gone. */
const CONFIRM_MS = 500

/** Between a hint and the look: long enough for the two steps of a save by rename. */
const SETTLE_MS = 20

/** While something keeps the service from working it looks more often: /etc/pve may be mounted any moment. Not so while others undo what it does. */
const DEGRADED_MS = 1000

export async function runCommand({ io, paths }: { io: Io; paths: Paths }): Promise<number> {
  const journal = makeJournal(io.stdout, process.env.JOURNAL_STREAM !== undefined)
  const wakeup = makeWakeup()
  let stopping = false
  const stop = (): void => {
    stopping = true
    wakeup.call()
  }
  let reload = wakeup.call
  process
    .on('SIGTERM', stop)
    .on('SIGINT', stop)
    .on('SIGHUP', () => reload())
  // Whoever reads it may send signals.
  await writePid(paths.runDir)
  const watch = watchFiles(paths, wakeup.call)
  const notify = makeNotify(process.env)
  const memory = await makeMemory(paths, journal, wakeup.call)
  const monitor = monitorNetwork(() => {
    memory.senses.forget()
    memory.drift?.touch()
    wakeup.call()
  })
  reload = () => {
    memory.quarantine.release()
    wakeup.call()
  }
  while (!stopping) {
    await lookOnce(memory)
    notify(memory.publisher.headline())
    await wakeup.sleep(pauseMs(memory), SETTLE_MS)
  }
  monitor.close()
  memory.drift?.close()
  memory.members.close()
  memory.senses.close()
  memory.staleFlows.close()
  await watch.close()
  await memory.publisher.close()
  journal.info('stopped; what is in force stays')
  return 0
}

function pauseMs({ missing, voice, fight, intervalMs }: Memory): number {
  if (missing.size > 0) return CONFIRM_MS
  return voice.degraded() === '' ? intervalMs : Math.min(Math.max(DEGRADED_MS, fight.pauseMs()), intervalMs)
}

async function lookOnce(memory: Memory): Promise<void> {
  try {
    const looked = {
      ...(await steadyLook(memory.paths, memory.tree, memory.senses)),
      remembered: memory.sightings,
      quarantined: memory.quarantine.rules(),
    }
    memory.intervalMs = looked.settings.intervalSeconds * 1000
    if (isUnconfirmed(looked, memory)) return
    await passing(memory, () => applyLook(looked, memory))
    memory.tree = looked.tree
    memory.troubles.settle(true)
  } catch (error) {
    memory.publisher.failed(memory.voice.failed(error))
    if (error instanceof NotInForce) {
      // Somebody changed it between the write and the look at it.
      memory.voice.repaired(error.left)
      memory.fight.later(memory.hint)
    }
    memory.troubles.settle(false)
    await keepLast(memory).catch(() => undefined)
  }
}

/** While the files cannot be read, what they asked for last is still to be in force. */
async function keepLast(memory: Memory): Promise<void> {
  const { kept, drift, voice, publisher, paths, journal } = memory
  if (!kept) {
    const restored = await restoreSaved(paths.stateDir, journal.warning)
    if (restored === 'restored') journal.info('put back what was in force last')
    return
  }
  if (drift?.isSure()) return
  const plan = await passing(memory, () => keepInForce(kept))
  if (isEmpty(plan)) return
  voice.putBack(plan)
  publisher.putBack(plan)
}

/** Whether a guest of ours has only just vanished from .vmlist: migration drops it and adds it again in two steps. */
function isUnconfirmed({ tree }: Looked, memory: Memory): boolean {
  const now = Date.now()
  const before = memory.tree?.guests.map(({ vmid }) => vmid) ?? []
  const missing = before.filter((vmid) => !tree.owners.has(vmid))
  memory.missing = new Map(missing.map((vmid) => [vmid, memory.missing.get(vmid) ?? now]))
  return [...memory.missing.values()].some((since) => now - since < CONFIRM_MS)
}
