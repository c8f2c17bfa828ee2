/** What doctor finds, and what it judges by. */
import { FAMILIES, type Family } from '../address.ts'
import type { Severity } from '../diagnostic.ts'
import type { NodeFacts } from '../facts/node-facts.ts'
import type { Translation } from '../nat/translate.ts'
import type { View } from '../nat/view.ts'
import type { Ruleset } from '../ruleset/ruleset.ts'

/** Every finding that there is; each has a test in which it is so. */
export const FINDING_IDS = [
  'firewall-off',
  'forwarding-off-v4',
  'forwarding-off-v6',
  'forwarding-off-interface',
  'conntrack-missing',
  'conntrack-full',
  'rp-filter-off',
  'rp-filter-strict',
  'uplink',
  'bridge-nf-off',
  'cycle-fails',
  'group-dies',
  'sport-backend',
  'not-in-force',
  'loop-missing',
  'bridge-zone',
  'own-leftovers',
  'forward-policy-other',
  'forward-policy',
  'foreign-forward',
  'foreign-masquerade',
  'sdn-snat',
  'two-backends',
  'guest-gateway',
  'address-twice',
  'mac-twice',
  'stranger-answers',
  'firewall-not-plugged',
  'service-stopped',
  'service-disabled',
  'program-missing',
  'version-old',
  'no-external',
  'service-hidden',
  'rules',
  'unread',
  'behind-nat',
  'pve-unreadable',
] as const
type FindingId = (typeof FINDING_IDS)[number]

/** One finding; keys in this order. */
export interface Finding {
  id: FindingId
  /** `error` keeps NAT from working now; `warning` does for some packets or will; `info` is good to know. */
  severity: Severity
  /** One sentence. */
  finding: string
  /** What was read. */
  restsOn: string[]
  /** Lines for a shell of the node; none where there is no such line. */
  fix: string[]
  /** Why it matters, one sentence. */
  why: string
}

/** A subnet of SDN that masquerades by itself. */
export interface SdnSubnet {
  id: string
  vnet: string
}

/** The node, and what is wanted on it. */
export interface Patient {
  facts: NodeFacts
  view: View
  translation: Translation
  ruleset: Ruleset
  /** Text of the guests' configs, by VMID. */
  configs: ReadonlyMap<number, string>
  /** Subnets of SDN with SNAT switched on. */
  sdnSnat: readonly SdnSubnet[]
  /** What `pvenat plan` would change; undefined when the kernel could not be read. */
  differs: readonly string[] | undefined
  /** How many rules have error diagnostics. */
  errors: number
}

export type Check = (patient: Patient) => Finding | Finding[] | undefined

/** A sentence begins with a capital letter. */
export function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}

/** The families of which anything is wanted. */
export function wantedFamilies({ ruleset }: Patient): Family[] {
  return FAMILIES.filter((family) => ruleset.chains[family].length > 0)
}
