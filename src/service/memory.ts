/** What the service is made of, and what it remembers from look to look. */
import type { Backend } from '../facts/backend.ts'
import type { Paths } from '../node/look.ts'
import { makeMembers, type Members } from '../node/members.ts'
import { recall } from '../node/recall.ts'
import { makeSenses, type Senses } from '../node/senses.ts'
import type { Sighting } from '../guest/learnt.ts'
import { makeMemo, type Memo } from '../memo.ts'
import type { Tree } from '../read.ts'
import type { Drift } from './drift.ts'
import { makeFight, type Fight } from './fight.ts'
import type { Journal } from './journal.ts'
import type { Kept } from './kept.ts'
import { makePublisher, readList, type Publisher } from './publish.ts'
import { makeQuarantine, type Quarantine } from './quarantine.ts'
import { makeRest } from './rest.ts'
import { makeStaleFlows, type StaleFlows } from './stale-flows.ts'
import { makeTroubles, type Troubles } from './troubles.ts'
import { makeVoice, type Voice } from './voice.ts'

export interface Memory {
  paths: Paths
  journal: Journal
  /** Asks for a look. */
  hint: () => void
  /** What need not be asked, or worked out, again. */
  senses: Senses
  memo: Memo
  /** The tree that is in force. */
  tree: Tree | undefined
  /** What was seen of the guests' addresses. */
  sightings: readonly Sighting[]
  quarantine: Quarantine
  staleFlows: StaleFlows
  /** Guests that are missing from .vmlist, and since when (milliseconds). */
  missing: Map<number, number>
  backend: Backend | undefined
  /** Watches the kernel by way of that backend. */
  drift: Drift | undefined
  members: Members
  intervalMs: number
  /** What is to be in force, and the kernel that it was given to. */
  kept: Kept | undefined
  fight: Fight
  rest: () => void
  troubles: Troubles
  voice: Voice
  publisher: Publisher
}

/** Of a service that begins: it knows what one before it left in the run folder. */
export async function makeMemory(paths: Paths, journal: Journal, hint: () => void): Promise<Memory> {
  const now = (): number => performance.now()
  const fight = makeFight(now)
  const memory: Memory = {
    paths,
    journal,
    hint,
    senses: makeSenses(),
    memo: makeMemo(),
    tree: undefined,
    sightings: (await recall(paths.runDir)).remembered,
    quarantine: makeQuarantine(now),
    staleFlows: makeStaleFlows(journal),
    missing: new Map(),
    backend: undefined,
    drift: undefined,
    members: makeMembers(),
    intervalMs: 5000,
    kept: undefined,
    fight,
    rest: makeRest(),
    troubles: makeTroubles(journal),
    voice: makeVoice(journal, fight, () => memory.backend ?? 'legacy'),
    publisher: makePublisher(paths, await readList(paths.runDir), journal.warning),
  }
  return memory
}
