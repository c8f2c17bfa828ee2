/**
 * The one line that every command and the service go along:
 *
 *   look ─▶ view ─▶ NAT rules ─▶ ruleset ─▶ plan ─▶ kernel
 *
 * Everything here is a function of values; looking and writing are node/.
 */
import { foresee } from './explain/foresee.ts'
import { makeFileCache, type FileCache } from './file-cache.ts'
import { nextLedger } from './nat/ledger.ts'
import { innerHolders } from './nat/rights.ts'
import { translate, type Translation } from './nat/translate.ts'
import type { View } from './nat/view.ts'
import { completed, readsClock, readView, type Look, type WholeLook } from './read.ts'
import { buildRuleset } from './ruleset/chains.ts'
import type { Ruleset } from './ruleset/ruleset.ts'

export interface Outcome {
  view: View
  translation: Translation
  ruleset: Ruleset
  /** By the id of a rule that is in force: why nothing, or not all that it names, gets through by it. */
  foreseen: ReadonlyMap<string, string>
}

/** The desired ruleset of a node. */
export function compile(look: Look): Outcome {
  return makeCompiler()(look)
}

/** `compile` for one look after the other. What did not change since the last look is not understood again. */
export function makeCompiler(): (look: Look) => Outcome {
  const cache = makeFileCache()
  return (look) => {
    const { now, ...kept } = keepLook(look, cache)
    const clock = cache.make('reads the clock', [kept.tree, kept.learnt], () => readsClock(kept)) && now
    const outcome = cache.make('outcome', [clock, ...Object.values(kept)], () => {
      const { view, translation } = settle({ now, ...kept }, cache)
      const { network, settings, quarantined, firewall, hasBridgeNetfilter, host, kernel } = view
      const facts = [network, settings, quarantined, firewall, hasBridgeNetfilter, kernel]
      const inputs = [translation, host.options['nf_conntrack_helpers'], ...facts]
      const ruleset = cache.make('ruleset', inputs, () => buildRuleset(translation, view))
      cache.sweep()
      const foreseen = foresee(view, translation, kept.filters)
      const diagnostics = [...translation.diagnostics, ...foreseen.diagnostics]
      return { view, translation: { ...translation, diagnostics }, ruleset, foreseen: foreseen.reasons }
    })
    return { ...outcome, view: { ...outcome.view, now } }
  }
}

/** The look, with the very values of the look before where they are equal. */
function keepLook(look: Look, cache: FileCache): WholeLook {
  const values = Object.entries(completed(look))
  return Object.fromEntries(
    values.map(([name, value]) => [name, cache.keep(name, value)]),
  ) as unknown as WholeLook
}

/** An inner address that its guest gives up may be another guest's in the same look, which its view then has to know. */
function settle(look: WholeLook, cache: FileCache, rounds = 3): Pick<Outcome, 'view' | 'translation'> {
  const view = readView(look, cache)
  const translation = translate(view, cache)
  const before = innerHolders(view.rights)
  const after = innerHolders(translation.lasting)
  const hasAll = [...before].every(([address, vmid]) => after.get(address) === vmid)
  if (hasAll || rounds === 1) return { view, translation }
  const ledger = { ...look.ledger, ...nextLedger(view, translation.lasting) }
  return settle({ ...look, ledger }, cache, rounds - 1)
}
