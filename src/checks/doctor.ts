/** Everything about the node that keeps NAT from working: one small function for each finding. */
import { worstFirst } from '../diagnostic.ts'
import type { Check, Finding, Patient } from './finding.ts'
import { foreignForward, foreignMasquerade, twoBackends } from './foreign.ts'
import { gatewayElsewhere } from './gateway.ts'
import { addressTwice, firewallNotPlugged, macTwice, strangerAnswers } from './guests.ts'
import {
  bridgesUnfiltered,
  conntrackFull,
  forwardingOff,
  interfaceForwardingOff,
  marksOverwritten,
  modulesMissing,
  rpFilterOff,
  rpFilterStrict,
  uplinkTrouble,
} from './kernel.ts'
import { cycleFails, groupDies, sportElsewhere } from './pvefirewall.ts'
import { bridgeZoneMissing, forwardPolicyDrop, loopMissing, notInForce, ownLeftovers } from './rules.ts'
import {
  behindNat,
  firewallOff,
  noExternal,
  rulesInError,
  serviceStopped,
  servicesHidden,
  unreadable,
  versionsTooOld,
} from './surroundings.ts'

const CHECKS: readonly Check[] = [
  forwardingOff,
  interfaceForwardingOff,
  modulesMissing,
  conntrackFull,
  rpFilterOff,
  rpFilterStrict,
  uplinkTrouble,
  marksOverwritten,
  bridgesUnfiltered,
  cycleFails,
  groupDies,
  sportElsewhere,
  notInForce,
  loopMissing,
  bridgeZoneMissing,
  ownLeftovers,
  forwardPolicyDrop,
  foreignForward,
  foreignMasquerade,
  twoBackends,
  gatewayElsewhere,
  addressTwice,
  macTwice,
  strangerAnswers,
  firewallNotPlugged,
  serviceStopped,
  versionsTooOld,
  noExternal,
  servicesHidden,
  rulesInError,
  unreadable,
  behindNat,
]

/** A firewall that is off comes first: nothing else matters before it is on. Then the worst. */
export function examine(patient: Patient): Finding[] {
  const findings = CHECKS.flatMap((check) => check(patient) ?? [])
  return [...merge(firewallOff(patient)), ...merge(findings).sort(worstFirst)]
}

/** Equal findings are one, with what each rests on. */
function merge(findings: readonly Finding[]): Finding[] {
  const merged = new Map<string, Finding>()
  for (const one of findings) {
    const key = JSON.stringify([one.id, one.finding, one.why])
    const before = merged.get(key)
    if (!before) merged.set(key, one)
    else
      merged.set(key, {
        ...before,
        restsOn: [...new Set([...before.restsOn, ...one.restsOn])],
        // Of two equal rules each is deleted by a line of its own.
        fix: [
          ...before.fix,
          ...one.fix.filter((line) => line.includes(' -D ') || !before.fix.includes(line)),
        ],
      })
  }
  return [...merged.values()]
}
