/** `list`: every NAT rule with its state and counters. */
import { look } from '../node/look.ts'
import { compile } from '../pipeline.ts'
import { countersOf, renderTable, toRow } from '../show/list.ts'
import { kernelOf } from './apply.ts'
import type { Context } from './context.ts'

export async function listCommand(context: Context): Promise<number> {
  const looked = await look(context.paths)
  const inForce = await (await kernelOf(looked, context)).read()
  const { translation, ruleset, view } = compile(looked, inForce)
  const counters = countersOf(ruleset, inForce)
  const external = view.network.external.flatMap(({ addresses }) => addresses)
  const rows = translation.rules.map((rule) => toRow(rule, external, counters, context.paths.pveDir))
  context.io.stdout(context.json ? `${JSON.stringify(rows, null, 1)}\n` : renderTable(rows))
  return 0
}
