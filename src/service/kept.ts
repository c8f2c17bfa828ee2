/** What the service put into force last, to be kept so whatever others do and whether or not the files can be read. */
import { FAMILIES } from '../address.ts'
import { shortHash } from '../hash.ts'
import type { Kernel } from '../node/kernel.ts'
import type { Ruleset } from '../ruleset/model.ts'
import { isEmpty, makePlan, type Plan } from '../ruleset/plan.ts'
import { chainText } from '../ruleset/text.ts'

/** What is to be in force, and the kernel that it was given to. */
export interface Kept {
  kernel: Kernel
  ruleset: Ruleset
  sysctls: Map<string, string>
  fingerprint: string
}

/** Puts back what is missing of it; returns what that was. */
export async function keepInForce(kept: Kept): Promise<Plan> {
  const plan = makePlan(kept.ruleset, await kept.kernel.read())
  if (!isEmpty(plan)) await kept.kernel.write(plan)
  return plan
}

/** Whether anything of it is not in force. */
export async function isDrifted({ kernel, ruleset, sysctls }: Kept): Promise<boolean> {
  for (const [path, value] of sysctls) if ((await kernel.sysctl(path)) !== value) return true
  const inForce = await kernel.read()
  const hasPolicy = FAMILIES.some(
    (family) =>
      ruleset.chains[family].length > 0 &&
      inForce.chains[family].drops !== ruleset.chains[family].some(({ name }) => name === 'PVENAT-PASS'),
  )
  return (
    hasPolicy ||
    !isEmpty(makePlan(ruleset, inForce)) ||
    (await kernel.hasLoop(ruleset.loop)) !== ruleset.loop.length > 0
  )
}

/** The same for rulesets that ask for the same. */
export function fingerprint({ chains, sets }: Ruleset): string {
  const rules = FAMILIES.flatMap((family) =>
    chains[family].map((chain) => chainText(chain, family).at(-1)?.hash),
  )
  return shortHash(JSON.stringify([rules, sets]))
}
