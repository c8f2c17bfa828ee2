/**
 * The one line that every command and the service go along:
 *
 *   look ─▶ view ─▶ NAT rules ─▶ ruleset ─▶ plan ─▶ kernel
 *
 * Everything here is a function of values; looking and writing are node/.
 */
import { FAMILIES } from './address.ts'
import { makeMemo, type Memo } from './memo.ts'
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

/**
 * What is wanted on the node, given what is in force there (nothing, when not told). `memo` spares what the rounds before did
 * already, and changes nothing else.
 */
export function compile(look: Look, inForce?: InForce, memo: Memo = makeMemo()): Outcome {
  memo.next()
  const view = readView(look, memo)
  const translation = translate(view, memo)
  const situation = {
    keep: FAMILIES.filter((family) => (inForce?.chains[family].own.size ?? 0) > 0),
    drops: FAMILIES.filter((family) => inForce?.chains[family].drops),
  }
  const { network, settings } = view
  const inputs = [translation, network, settings, situation.keep.join(), situation.drops.join()]
  return {
    view,
    translation,
    ruleset: memo.make('ruleset', inputs, () => buildRuleset(translation, view, situation)),
  }
}
