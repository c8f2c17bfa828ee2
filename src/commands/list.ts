/** `list`: every NAT rule with its state and counters. */
import { look } from '../node/look.ts'
import { compile } from '../pipeline.ts'
import { countersOf, listRows, renderListJson, renderTable } from '../show/list.ts'
import { kernelOf } from './apply.ts'
import type { Context } from './context.ts'

export async function listCommand(context: Context): Promise<number> {
  const looked = await look(context.paths)
  const inForce = await (await kernelOf(looked, context)).read()
  const outcome = compile(looked, inForce)
  const rows = listRows(outcome, countersOf(outcome.ruleset, inForce), context.paths.pveDir)
  context.io.stdout(context.json ? renderListJson(rows) : renderTable(rows))
  return 0
}
