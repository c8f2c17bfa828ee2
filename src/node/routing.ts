/** Reads and writes own routing rules and routes by `ip`. */
import { existsSync } from 'node:fs'
import type { Family } from '../address.ts'
import type { IpRoute, IpRule } from '../ip.ts'
import { NO_ROUTING, type Routing } from '../ruleset/ruleset.ts'
import { parseRouting, type RoutingPlan } from '../ruleset/routing.ts'
import { OWN_PROTOCOL } from '../uplinks.ts'
import { CommandFailed, run } from './exec.ts'

/** The kernel refused to lead packets as they should be led; nothing that rests on it has been written. */
export class RoutingRefused extends CommandFailed {}

export async function readRouting(family: Family): Promise<Routing> {
  if (family === 6 && !existsSync('/proc/sys/net/ipv6')) return NO_ROUTING
  const args = ['-j', '-N', `-${family}`, '-batch', '-']
  const text = lines(['rule show', `route show table all proto ${OWN_PROTOCOL}`])
  const finished = await run('ip', args, text)
  const [rules, routes] = finished.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown[])
  if (!rules || !routes) throw new CommandFailed(`ip ${args.join(' ')}`, finished, text)
  return parseRouting(rules as IpRule[], routes as IpRoute[])
}

/** Writes what leads marked packets, as far as the kernel takes it. Throws RoutingRefused when it does not take all. */
export async function addRouting(family: Family, { before }: RoutingPlan): Promise<void> {
  if (before.length === 0) return
  const { args, text, finished } = await batch(family, before)
  if (finished.code !== 0) throw new RoutingRefused(`ip ${args.join(' ')}`, finished, text)
}

/** Whatever is gone already stays gone; reading back tells the rest. */
export async function removeRouting(family: Family, { after }: RoutingPlan): Promise<void> {
  if (after.length > 0) await batch(family, after)
}

async function batch(
  family: Family,
  commands: readonly string[],
): Promise<{ args: string[]; text: string; finished: Awaited<ReturnType<typeof run>> }> {
  const args = [`-${family}`, '-force', '-batch', '-']
  const text = lines(commands)
  return { args, text, finished: await run('ip', args, text) }
}

function lines(commands: readonly string[]): string {
  return commands.map((line) => `${line}\n`).join('')
}
