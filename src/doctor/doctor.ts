/** Everything about the node that keeps NAT from working: one small function for each finding. */
import { worstFirst } from '../diagnostic.ts'
import type { Check, Finding, Patient } from './finding.ts'
import { addressTwice, firewallNotPlugged, gatewayElsewhere, macTwice, strangerAnswers } from './guests.ts'
import {
  bridgesUnfiltered,
  conntrackFull,
  forwardingOff,
  modulesMissing,
  rpFilterOff,
  rpFilterStrict,
} from './kernel.ts'
import { cycleFails, groupDies, sportElsewhere } from './pvefirewall.ts'
import {
  foreignForward,
  foreignMasquerade,
  forwardPolicyDrop,
  loopMissing,
  notInForce,
  ownLeftovers,
  twoBackends,
} from './rules.ts'
import {
  behindNat,
  noExternal,
  rulesInError,
  serviceStopped,
  servicesHidden,
  unreadable,
  versionsTooOld,
} from './surroundings.ts'

const CHECKS: readonly Check[] = [
  forwardingOff,
  modulesMissing,
  conntrackFull,
  rpFilterOff,
  rpFilterStrict,
  bridgesUnfiltered,
  cycleFails,
  groupDies,
  sportElsewhere,
  notInForce,
  loopMissing,
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

/** The worst first. */
export function examine(patient: Patient): Finding[] {
  const findings = CHECKS.flatMap((check) => check(patient) ?? [])
  return findings.sort(worstFirst)
}
