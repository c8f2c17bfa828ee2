/** What the service put into force last, to be kept so whatever others do and whether or not the files can be read. */
import { FAMILIES } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { WatchedKernel } from '../node/kernel.ts'
import type { Members } from '../node/members.ts'
import { parseSave, type InForce } from '../ruleset/inforce.ts'
import type { Ruleset } from '../ruleset/model.ts'
import { isEmpty, makePlan, type Plan } from '../ruleset/plan.ts'
import { chainText } from '../ruleset/text.ts'

/** What is to be in force, and the kernel that it was given to. */
export interface Kept {
  kernel: WatchedKernel
  ruleset: Ruleset
  sysctls: Map<string, string>
  fingerprint: string
  /** What was in force when it was read last, and that was as it should be. */
  inForce: InForce
  /** The hash of the last glance that showed nothing else. */
  glanced?: string | undefined
}

/** Puts back what is missing of it; returns what that was. */
export async function keepInForce(kept: Kept): Promise<Plan> {
  const plan = makePlan(kept.ruleset, await kept.kernel.read(kept.inForce))
  if (!isEmpty(plan)) await kept.kernel.write(plan)
  return plan
}

/** Whether the rules are not as they should be, or the policy of FORWARD asks for others. */
export async function areRulesDrifted(kept: Kept): Promise<boolean> {
  const { kernel, ruleset, inForce, glanced } = kept
  const now = await kernel.glance()
  const hash = shortHash(now[4] + now[6])
  if (glanced === hash) return false
  const chains = {
    4: parseSave(now[4], inForce.chains[4]),
    6: parseSave(now[6], inForce.chains[6]),
  }
  const hasPolicy = FAMILIES.some(
    (family) =>
      ruleset.chains[family].length > 0 &&
      chains[family].drops !== ruleset.chains[family].some(({ name }) => name === 'PVENAT-PASS'),
  )
  const isOther = hasPolicy || !isEmpty(makePlan(ruleset, { chains, sets: inForce.sets }))
  if (!isOther) kept.glanced = hash
  return isOther
}

/** Whether anything else of it is not: sysctls, and the members of sets. */
export async function isRestDrifted({ kernel, sysctls, inForce }: Kept, members: Members): Promise<boolean> {
  for (const [path, value] of sysctls) if ((await kernel.sysctl(path)) !== value) return true
  return members.areOther(inForce.sets)
}

/** The same for rulesets that ask for the same. */
export function fingerprint({ chains, sets }: Ruleset): string {
  const rules = FAMILIES.flatMap((family) =>
    chains[family].map((chain) => chainText(chain, family).at(-1)?.hash),
  )
  return shortHash(JSON.stringify([rules, sets]))
}
