/** What explain answers: steps in the order of the packet's way, each resting on something that was read. */

import type { Finding } from '../checks/finding.ts'

/** `pass` and `stop` decide; `note` says what is good to know, `unknown` what cannot be known here. */
type StepVerdict = 'pass' | 'stop' | 'note' | 'unknown'

export interface Fix {
  /** Lines that can be pasted into a shell of the node. */
  commands: string[]
  /** What to click or to type instead. */
  instead?: string
}

export interface Step {
  verdict: StepVerdict
  sentence: string
  /** What was read: `107.fw:9`, `nat PVENAT-DNAT rule 3`, `net.ipv4.ip_forward = 0`, … */
  restsOn: string[]
  /** Of a `stop` only. */
  fix?: Fix
}

export interface Explanation {
  /** `unknown`: a rule of others on its way may stop it or send it elsewhere. */
  gets: 'through' | 'stopped' | 'unknown'
  steps: Step[]
}

/** Ends the way: nothing behind it matters. */
class Stopped extends Error {}

/** The steps as they come. */
export class Trail {
  readonly steps: Step[] = []
  isDoubtful = false

  pass(sentence: string, ...restsOn: string[]): void {
    this.steps.push({ verdict: 'pass', sentence, restsOn })
  }

  note(sentence: string, ...restsOn: string[]): void {
    this.steps.push({ verdict: 'note', sentence, restsOn })
  }

  unknown(sentence: string, ...restsOn: string[]): void {
    this.steps.push({ verdict: 'unknown', sentence, restsOn })
  }

  /** What others' rules may do: the packet may not get through. */
  doubt(sentence: string, ...restsOn: string[]): void {
    this.isDoubtful = true
    this.unknown(sentence, ...restsOn)
  }

  /** Ends the way where nothing more can be known. */
  giveUp(sentence: string, ...restsOn: string[]): never {
    this.doubt(sentence, ...restsOn)
    throw new Stopped()
  }

  /** Stops for a cause that doctor finds, too; `more`: what else was read, or can be done. */
  stopFor(cause: Finding | undefined, more: { restsOn?: string[] } & Partial<Fix> = {}): void {
    if (!cause) return
    const { restsOn = [], commands = cause.fix, instead } = more
    const fix = instead === undefined ? { commands } : { commands, instead }
    this.stop(cause.finding, [...cause.restsOn, ...restsOn], fix)
  }

  /** Never returns. */
  stop(sentence: string, restsOn: string[], fix?: Fix): never {
    this.steps.push({ verdict: 'stop', sentence, restsOn, ...(fix ? { fix } : {}) })
    throw new Stopped()
  }
}

/** Lets `go` walk the way to its end, or to the first thing that stops it. */
export function follow(go: (trail: Trail) => void): Explanation {
  const trail = new Trail()
  try {
    go(trail)
    return { gets: trail.isDoubtful ? 'unknown' : 'through', steps: trail.steps }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
    const isStopped = trail.steps.at(-1)?.verdict === 'stop'
    return { gets: isStopped ? 'stopped' : 'unknown', steps: trail.steps }
  }
}
