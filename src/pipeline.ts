/**
 * The one line that every command and the service go along:
 *
 *   look ─▶ view ─▶ NAT rules ─▶ ruleset ─▶ plan ─▶ kernel
 *
 * Everything here is a function of values; looking and writing are node/.
 */
import type { Family } from './address.ts'
import { translate, type Translation } from './nat/translate.ts'
import type { View } from './nat/view.ts'
import { readView, type Look } from './read.ts'
import { buildRuleset } from './ruleset/build.ts'
import type { InForce } from './ruleset/inforce.ts'
import type { Ruleset } from './ruleset/model.ts'

export interface Outcome {
  view: View
  translation: Translation
  ruleset: Ruleset
}

/** What is wanted on the node; `inForce` only says which families have been set up before (their skeleton stays). */
export function compile(look: Look, inForce?: InForce): Outcome {
  const view = readView(look)
  const translation = translate(view)
  return { view, translation, ruleset: buildRuleset(translation, view, familiesInForce(inForce)) }
}

function familiesInForce(inForce: InForce | undefined): Family[] {
  const families: Family[] = [4, 6]
  return families.filter((family) => (inForce?.chains[family].own.size ?? 0) > 0)
}
