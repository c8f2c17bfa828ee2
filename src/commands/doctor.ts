/** `doctor`: what on this node keeps NAT from working, and the fix for each. Changes nothing. */
import { word } from '../diagnostic.ts'
import { examine } from '../doctor/doctor.ts'
import type { Finding, SdnSubnet } from '../doctor/finding.ts'
import { field, members, parseJson, textOf } from '../json.ts'
import { chooseBackend } from '../node/backend.ts'
import { CommandFailed } from '../node/exec.ts'
import { readFacts } from '../node/facts.ts'
import { realKernel } from '../node/kernel.ts'
import type { Looked, Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { Unreadable } from '../node/tree.ts'
import { compile } from '../pipeline.ts'
import type { InForce } from '../ruleset/inforce.ts'
import { makePlan } from '../ruleset/plan.ts'
import { renderFindings } from '../show/doctor.ts'
import type { Context } from './context.ts'

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
  const inForce = await orUnread(realKernel(backend, () => undefined).read())
  const facts = await readFacts(backend, paths.runDir, looked.listeners ?? [])
  const { view, translation, ruleset } = compile(looked, 'chains' in inForce ? inForce : undefined)
  const diagnostics = [...looked.settingsDiagnostics, ...translation.diagnostics]
  return examine({
    ...{ view, translation, ruleset },
    facts:
      'chains' in inForce ? facts : { ...facts, unread: [...new Set([...facts.unread, inForce.unread])] },
    configs: new Map(looked.tree.guests.map(({ vmid, config }) => [vmid, config])),
    sdnSnat: sdnSnat(looked.learnt?.sdn ?? ''),
    differs: 'chains' in inForce ? makePlan(ruleset, inForce).changes.map(({ what }) => what) : undefined,
    errors: diagnostics.filter((one) => word(one).severity === 'error').length,
  })
}

/** Everything else that doctor could say rests on it. */
function unreadable({ message }: Unreadable): Finding {
  return {
    ...{ id: 'pve-unreadable', severity: 'error' },
    finding: `The cluster file system cannot be believed: ${message}.`,
    restsOn: [message],
    fix: ['systemctl restart pve-cluster'],
    why: 'pvenat keeps what is in force and follows no change; nothing more can be examined until then.',
  }
}

async function orUnread(reading: Promise<InForce>): Promise<InForce | { unread: string }> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof CommandFailed) return { unread: error.message }
    throw error
  }
}

/** Subnets that SDN masquerades by itself (`snat: 1`). */
function sdnSnat(runningConfig: string): SdnSubnet[] {
  return members(field(field(parseJson(runningConfig), 'subnets'), 'ids'))
    .filter(([, subnet]) => textOf(field(subnet, 'snat')) === '1')
    .map(([id, subnet]) => ({ id, vnet: textOf(field(subnet, 'vnet')) }))
}
