/**
 * The kernel's own answer to which way a packet takes. Explaining is a function of values, so it names its questions, ends where one is
 * open, and is asked again with the answers (commands/explain.ts).
 */
import { formatRange as show, type Range } from '../address.ts'
import { hex } from '../ruleset/uplinks.ts'
import type { Trail } from './step.ts'
import type { World } from './world.ts'

interface Hop {
  to: Range
  from?: Range
  /** The interface by which it came; undefined for the node's own. */
  iif?: string | undefined
  /** 0 for none. */
  mark?: number
}

interface KernelWay {
  /** Undefined: the kernel has no way for it. */
  dev: string | undefined
  /** The command that tells it. */
  told: string
}

/** Ends the way where the kernel does not answer. */
export function kernelWay({ askWay }: World, { to, from, iif, mark = 0 }: Hop, trail: Trail): KernelWay {
  const question = [
    show(to),
    ...(from ? ['from', show(from)] : []),
    ...(iif === undefined ? [] : ['iif', iif]),
    ...(mark === 0 ? [] : ['mark', hex(mark)]),
  ].join(' ')
  const told = `ip route get ${question}`
  const answer = askWay(question)
  return answer
    ? { dev: answer.dev, told }
    : trail.giveUp(`Which way it takes to ${show(to)} the kernel did not tell.`, told)
}

/** The interface by which the node itself reaches an address; undefined where it has no way. */
export function wayTo(world: World, to: Range, trail: Trail): string | undefined {
  return kernelWay(world, { to }, trail).dev
}
