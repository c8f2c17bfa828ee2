/** `doctor`: what on this node keeps NAT from working, and the fix for each. Changes nothing. */
import { isError } from '../diagnostic.ts'
import { examine } from '../checks/doctor.ts'
import type { Finding, SdnSubnet } from '../checks/finding.ts'
import { field, members, parseJson, textOf } from '../json.ts'
import { chooseBackend } from '../node/backend.ts'
import { CommandFailed } from '../node/exec.ts'
import { readFacts } from '../node/facts.ts'
import { realKernel } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { Unreadable } from '../node/tree.ts'
import { compile } from '../pipeline.ts'
import { kernelFacts, NOTHING_INSTALLED } from '../ruleset/installed.ts'
import { makePlan } from '../ruleset/plan.ts'
import { renderFindings } from '../show/doctor.ts'
import { toldOf, type Context } from './context.ts'

export async function doctorCommand({ io, json, paths, colour }: Context): Promise<number> {
  const findings = await findingsOf(paths)
  io.stdout(json ? `${JSON.stringify(findings, null, 1)}\n` : renderFindings(findings, colour))
  return findings.some(({ severity }) => severity === 'error') ? 1 : 0
}

async function findingsOf(paths: Paths): Promise<Finding[]> {
  let looked: Looked
  try {
    looked = await lookKnowing(paths)
  } catch (error) {
    if (error instanceof Unreadable) return [unreadable(error)]
    throw error
  }
  const backend = await chooseBackend(looked.settings)
  const facts = await readFacts(backend, paths.runDir, looked.listeners ?? [])
  const unread = new Set(facts.unread)
  const installed = await realKernel(backend, () => undefined)
    .read()
    .catch((error: unknown) => {
      if (!(error instanceof CommandFailed)) throw error
      unread.add(error.message)
      return undefined
    })
  const outcome = compile({ ...looked, kernel: kernelFacts(installed ?? NOTHING_INSTALLED) })
  return examine({
    ...outcome,
    facts: { ...facts, unread: [...unread] },
    configs: new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config])),
    sdnSnat: sdnSnat(looked.learnt?.sdn ?? ''),
    differs: installed && makePlan(outcome.ruleset, installed).changes.map(({ what }) => what),
    errors: toldOf(looked, outcome).diagnostics.filter(isError).length,
  })
}

/** Everything else that doctor could say rests on it. */
function unreadable({ message }: Unreadable): Finding {
  return {
    id: 'pve-unreadable',
    severity: 'error',
    finding: `The cluster file system cannot be believed: ${message}.`,
    restsOn: [message],
    fix: ['systemctl restart pve-cluster'],
    why: 'pvenat keeps what is in force and follows no change; nothing more can be examined until then.',
  }
}

/** Subnets that SDN masquerades by itself (`snat: 1`). */
function sdnSnat(runningConfig: string): SdnSubnet[] {
  return members(field(field(parseJson(runningConfig), 'subnets'), 'ids'))
    .filter(([, subnet]) => textOf(field(subnet, 'snat')) === '1')
    .map(([id, subnet]) => ({ id, vnet: textOf(field(subnet, 'vnet')) }))
}
