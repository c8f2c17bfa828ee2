/** `explain`: what becomes of one packet, and why. */
import { explain } from '../explain/explain.ts'
import { parsePacket, type Packet } from '../explain/packet.ts'
import type { Explanation } from '../explain/step.ts'
import type { World } from '../explain/world.ts'
import { UsageError } from '../io.ts'
import type { IpRoute } from '../ip.ts'
import { chooseBackend } from '../node/backend.ts'
import { NOT_STARTED, run, TOO_LATE } from '../node/exec.ts'
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
  const explained = await explainByKernel(
    { ...compile({ ...looked, kernel: kernelFacts(installed) }), installed, facts, configs },
    packet,
  )
  io.stdout(json ? `${JSON.stringify(explained, null, 1)}\n` : renderExplanation(explained, colour))
  return explained.gets === 'through' ? 0 : 1
}

/** Explains until the kernel has answered each question for the way: an answer may lead to another question. `answers`: those that are known. */
export async function explainByKernel(
  world: Omit<World, 'askWay'>,
  packet: Packet,
  answers = new Map<string, ReturnType<World['askWay']>>(),
): Promise<Explanation> {
  for (;;) {
    const open = new Set<string>()
    const askWay: World['askWay'] = (question) => {
      if (!answers.has(question)) open.add(question)
      return answers.get(question)
    }
    const explained = explain({ ...world, askWay }, packet)
    if (open.size === 0) return explained
    for (const question of open) answers.set(question, await wayOf(question))
  }
}

/** The interface of `ip route get`, none where there is no way; undefined where the program does not answer. */
async function wayOf(question: string): Promise<ReturnType<World['askWay']>> {
  const { code, stdout } = await run('ip', ['-j', 'route', 'get', ...question.split(' ')])
  if (code === NOT_STARTED || code === TOO_LATE) return undefined
  return { dev: code === 0 ? (JSON.parse(stdout) as IpRoute[])[0]?.dev : undefined }
}
