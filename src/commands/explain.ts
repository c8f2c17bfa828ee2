/** `explain`: what becomes of one packet, and why. */
import { explain } from '../explain/explain.ts'
import { parsePacket } from '../explain/packet.ts'
import { UsageError } from '../io.ts'
import { chooseBackend } from '../node/backend.ts'
import { readFacts } from '../node/facts.ts'
import { lookKnowing } from '../node/recall.ts'
import { compile } from '../pipeline.ts'
import { renderExplanation } from '../show/explain.ts'
import { kernelOf } from './apply.ts'
import type { Context } from './context.ts'

export async function explainCommand(context: Context): Promise<number> {
  const { io, json, paths, words, colour } = context
  const packet = parsePacket(words)
  if (typeof packet === 'string') throw new UsageError(packet)
  const looked = await lookKnowing(paths)
  const inForce = await (await kernelOf(looked, context)).read()
  const facts = await readFacts(await chooseBackend(looked.settings), paths.runDir, [])
  const { view, translation, ruleset } = compile(looked, inForce)
  const configs = new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config]))
  const explained = explain({ view, translation, ruleset, inForce, facts, configs }, packet)
  io.stdout(json ? `${JSON.stringify(explained, null, 1)}\n` : renderExplanation(explained, colour))
  return explained.gets === 'through' ? 0 : 1
}
