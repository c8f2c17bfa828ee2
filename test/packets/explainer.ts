/**
 * A program for the node of the lab: it reads once what `pvenat explain` and `pvenat list` read, and answers both for many packets.
 * Arguments: the pve directory, the state directory, then packets as `explain` takes them.
 */
import { join } from 'node:path'
import { explain } from '../../src/explain/explain.ts'
import { parsePacket } from '../../src/explain/packet.ts'
import type { Explanation } from '../../src/explain/step.ts'
import { chooseBackend } from '../../src/node/backend.ts'
import { readFacts } from '../../src/node/facts.ts'
import { realKernel } from '../../src/node/kernel.ts'
import { lookKnowing } from '../../src/node/recall.ts'
import { compile } from '../../src/pipeline.ts'
import { installedRows, type Row } from '../../src/show/list.ts'

/** What the program prints, as JSON. */
export interface Said {
  rows: Row[]
  explained: Explanation[]
  /** `FILE:LINE` of the forwards of which check says that the guest answers past this node. */
  elsewhere: string[]
}

async function main([pveDir = '', stateDir = '', ...packets]: readonly string[]): Promise<void> {
  const none = `${stateDir}/none`
  const looked = await lookKnowing({ pveDir, node: 'pve1', config: none, stateDir, runDir: none })
  const backend = await chooseBackend(looked.settings)
  const inForce = await realKernel(backend, () => undefined).read()
  const facts = await readFacts(backend, none, [])
  const configs = new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config]))
  const outcome = compile(looked, inForce)
  const said: Said = {
    rows: installedRows(outcome, inForce, pveDir),
    elsewhere: outcome.translation.diagnostics.flatMap(({ code, place }) =>
      code === 'answers-elsewhere' && place ? [`${join(pveDir, place.file)}:${place.span.line}`] : [],
    ),
    explained: packets.map((words) => {
      const packet = parsePacket(words.split(' '))
      if (typeof packet === 'string') throw new Error(`${words}: ${packet}`)
      return explain({ ...outcome, inForce, facts, configs }, packet)
    }),
  }
  process.stdout.write(JSON.stringify(said))
}

await main(process.argv.slice(2))
