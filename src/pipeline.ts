/**
 * The one line that every command and the service go along:
 *
 *   look ─▶ view ─▶ NAT rules ─▶ ruleset ─▶ plan ─▶ kernel
 *
 * Everything here is a function of values; looking and writing are node/.
 */
import { FAMILIES, type Family } from './address.ts'
import { foresee } from './explain/foresee.ts'
import { makeMemo, type Memo } from './memo.ts'
import { nextLedger } from './nat/ledger.ts'
import { innerHolders } from './nat/rights.ts'
import { translate, type Translation } from './nat/translate.ts'
import type { View } from './nat/view.ts'
import { keepLook, readView, type Look, type WholeLook } from './read.ts'
import { buildRuleset } from './ruleset/chains.ts'
import type { InForce } from './ruleset/inforce.ts'
import { sameChain, type Chain, type Ruleset } from './ruleset/model.ts'

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
  const seen = keepLook(look, memo)
  const situation = {
    keep: FAMILIES.filter((family) => (inForce?.chains[family].own.size ?? 0) > 0),
    drops: FAMILIES.filter((family) => inForce?.chains[family].drops),
  }
  const { tree, ...others } = seen
  const asked = [tree.isClustered, situation.keep.join(), situation.drops.join()]
  // Of a look that says what the one before said nothing is asked again.
  return memo.nest(
    'outcome',
    [
      tree.fw,
      tree.guests,
      tree.elsewhere,
      memo.keep('vmids', [...tree.owners.keys()]),
      ...Object.values(others),
      ...asked,
    ],
    (inner) => {
      const { view, translation } = settle(seen, inner)
      const diagnostics = [...translation.diagnostics, ...foresee(view, translation)]
      const { network, settings, quarantined } = view
      const helpers = view.host.options['nf_conntrack_helpers']
      return {
        view,
        translation: { ...translation, diagnostics },
        ruleset: inner.nest(
          'ruleset',
          [translation, network, settings, quarantined, helpers, view.firewall, view.hasBridgeNetfilter, ...asked],
          (own) => keepChains(buildRuleset(translation, view, situation), own),
        ),
      }
    },
  )
}

/** An inner address that its guest gives up may be another guest's in the same look, which its view then has to know. */
function settle(look: WholeLook, memo: Memo, rounds = 3): Pick<Outcome, 'view' | 'translation'> {
  const view = readView(look, memo)
  const translation = translate(view, memo)
  const before = innerHolders(view.rights)
  const after = innerHolders(translation.lasting)
  const hasAll = [...before].every(([address, vmid]) => after.get(address) === vmid)
  if (hasAll || rounds === 1) return { view, translation }
  const ledger = { ...look.ledger, ...nextLedger(view, translation.lasting) }
  return settle({ ...look, ledger }, memo, rounds - 1)
}

/** The ruleset, with the very chains of the one before that stay, of which the text is known. */
function keepChains(ruleset: Ruleset, memo: Memo): Ruleset {
  const kept = (family: Family): Chain[] =>
    ruleset.chains[family].map((chain) =>
      memo.keep(`${family} ${chain.table} ${chain.name}`, chain, sameChain),
    )
  return { ...ruleset, chains: { 4: kept(4), 6: kept(6) } }
}
