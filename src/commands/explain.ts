/** `explain`: what becomes of one packet, and why. */
import { explain } from '../explain/explain.ts'
import { parsePacket } from '../explain/packet.ts'
import { UsageError } from '../io.ts'
import { chooseBackend } from '../node/backend.ts'
import { readFacts } from '../node/facts.ts'
import { realKernel } from '../node/kernel.ts'
import { lookKnowing } from '../node/recall.ts'
import { compile } from '../pipeline.ts'
import { kernelFacts } from '../ruleset/installed.ts'
import { renderExplanation } from '../show/explain.ts'
import type { Context } from './context.ts'

export async function explainCommand({ io, json, paths, words, colour }: Context): Promise<number> {
  const packet = parsePacket(words)
  if (typeof packet === 'string') throw new UsageError(packet)
  const looked = await lookKnowing(paths)
  const backend = await chooseBackend(looked.settings)
  const installed = await realKernel(backend, () => undefined).read()
  const facts = await readFacts(backend, paths.runDir, [])
  const configs = new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config]))
  const explained = explain(
    { ...compile({ ...looked, kernel: kernelFacts(installed) }), installed, facts, configs },
    packet,
  )
  io.stdout(json ? `${JSON.stringify(explained, null, 1)}\n` : renderExplanation(explained, colour))
  return explained.gets === 'through' ? 0 : 1
}
