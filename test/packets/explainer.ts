/**
 * A program for the node of the lab: it applies a tree, reads what `pvenat explain` and `pvenat list` read, and answers both for many packets.
 * Argument: the socket to answer at. A connection brings one line of JSON and gets one; all that is read is read at a question with a tree.
 */
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { applyCommand } from '../../src/commands/apply.ts'
import { explainByKernel } from '../../src/commands/explain.ts'
import { word } from '../../src/diagnostic.ts'
import { parsePacket } from '../../src/explain/packet.ts'
import type { Explanation } from '../../src/explain/step.ts'
import type { World } from '../../src/explain/world.ts'
import { chooseBackend } from '../../src/node/backend.ts'
import { readFacts } from '../../src/node/facts.ts'
import { realKernel } from '../../src/node/kernel.ts'
import { lookKnowing } from '../../src/node/recall.ts'
import { compile } from '../../src/pipeline.ts'
import { kernelFacts } from '../../src/ruleset/installed.ts'
import { installedRows, type Row } from '../../src/show/list.ts'

export type Question = { tree: string } | { packets: readonly string[] }

/** The answer for a tree, whose state is in its folder `state`. */
export interface Listed {
  rows: Row[]
  /** `FILE:LINE`, family: the forwards of which check says that the guest answers past this node, or is cut off. */
  elsewhere: string[]
}

let world: Omit<World, 'askWay'>
/** Of the kernel, for the tree that is in force. */
let answers: Parameters<typeof explainByKernel>[2]

async function read(pveDir: string): Promise<Listed> {
  const [config, stateDir, runDir] = [`${pveDir}/none`, `${pveDir}/state`, `${pveDir}/run`] as const
  const paths = { pveDir, node: 'pve1', config, stateDir, runDir }
  const io = { stdout: () => undefined, stderr: () => undefined, isTerminal: false }
  await applyCommand({ io, paths, words: [], values: {}, json: false, colour: false })
  const looked = await lookKnowing(paths)
  const backend = await chooseBackend(looked.settings)
  const installed = await realKernel(backend, () => undefined).read()
  const facts = await readFacts(backend, runDir, [])
  const configs = new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config]))
  const outcome = compile({ ...looked, kernel: kernelFacts(installed) })
  world = { ...outcome, installed, facts, configs }
  answers = new Map()
  return {
    rows: installedRows(outcome, installed, pveDir),
    elsewhere: outcome.translation.diagnostics.flatMap((one) => {
      if (one.code !== 'answers-elsewhere' && one.code !== 'guest-cut') return []
      const at = `${join(pveDir, one.place.file)}:${one.place.span.line}`
      if (one.code === 'guest-cut') return [`${at} 4`, `${at} 6`]
      const gateway = / to (\S+), past this node/.exec(word(one).message)?.[1] ?? ''
      return [`${at} ${gateway.includes(':') ? 6 : 4}`]
    }),
  }
}

/** Packets as the command takes them. */
async function explainAll(packets: readonly string[]): Promise<Explanation[]> {
  const explanations: Explanation[] = []
  for (const words of packets) {
    const packet = parsePacket(words.split(' '))
    if (typeof packet === 'string') throw new Error(`${words}: ${packet}`)
    explanations.push(await explainByKernel(world, packet, answers))
  }
  return explanations
}

createServer((socket) => {
  createInterface({ input: socket }).once('line', (line) => {
    const question = JSON.parse(line) as Question
    void (async () => ('tree' in question ? read(question.tree) : explainAll(question.packets)))().then(
      (answer) => socket.end(JSON.stringify(answer)),
      (error: unknown) => socket.end(JSON.stringify({ error: String(error) })),
    )
  })
}).listen(process.argv[2], () => process.stdout.write('ready\n'))
