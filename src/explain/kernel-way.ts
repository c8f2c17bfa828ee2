/**
 * The kernel's own answer to which way a packet takes, for nodes with several uplinks or with policy routing. Explaining is a function of values,
 * so it names its questions, and is asked again with the answers (commands/explain.ts).
 */
import { formatRange as show, type Range } from '../address.ts'
import { hex } from '../ruleset/uplinks.ts'
import type { World } from './world.ts'

interface Hop {
  from: Range
  to: Range
  /** The interface by which it came. */
  iif: string
  /** 0 for none. */
  mark: number
}

interface KernelWay {
  /** Undefined: the kernel has no way for it. */
  dev: string | undefined
  /** The command that tells it. */
  told: string
}

/** Undefined where the kernel is not asked, or did not answer. */
export function kernelWay(
  { view, facts, askWay }: World,
  { from, to, iif, mark }: Hop,
): KernelWay | undefined {
  if (!askWay || (view.network.external.length < 2 && !facts.policyRouting)) return undefined
  const marked = mark === 0 ? '' : ` mark ${hex(mark)}`
  const question = `${show(to)} from ${show(from)} iif ${iif}${marked}`
  const answer = askWay(question)
  return answer && { dev: answer.dev, told: `ip route get ${question}` }
}
