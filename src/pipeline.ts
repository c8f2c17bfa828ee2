/**
 * The one line that every command and the service go along:
 *
 *   look ─▶ view ─▶ NAT rules ─▶ ruleset ─▶ plan ─▶ kernel
 *
 * Everything here is a function of values; looking and writing are node/.
 */
import { FAMILIES } from './address.ts'
import { foresee } from './explain/foresee.ts'
import { makeFileCache, type FileCache } from './file-cache.ts'
import { nextLedger } from './nat/ledger.ts'
import { innerHolders } from './nat/rights.ts'
import { translate, type Translation } from './nat/translate.ts'
import type { View } from './nat/view.ts'
import { keepLook, readView, type Look, type WholeLook } from './read.ts'
import { buildRuleset } from './ruleset/chains.ts'
import type { Installed } from './ruleset/installed.ts'
import type { Ruleset } from './ruleset/ruleset.ts'

export interface Outcome {
  view: View
  translation: Translation
  ruleset: Ruleset
}

/** The desired ruleset of a node, given the installed one (none, when not told). `cache`: what files came to in looks before. */
export function compile(look: Look, installed?: Installed, cache: FileCache = makeFileCache()): Outcome {
  const seen = keepLook(look, cache)
  const situation = {
    keep: FAMILIES.filter((family) => (installed?.chains[family].own.size ?? 0) > 0),
    drops: FAMILIES.filter((family) => installed?.chains[family].drops),
  }
  const { tree, ...others } = seen
  const vmids = cache.keep('vmids', [...tree.owners.keys()])
  const asked = [tree.isClustered, situation.keep.join(), situation.drops.join()]
  const files = [tree.fw, tree.guests, tree.elsewhere, vmids]
  return cache.make('outcome', [...files, ...Object.values(others), ...asked], () => {
    const { view, translation } = settle(seen, cache)
    const { network, settings, quarantined, firewall, hasBridgeNetfilter, host } = view
    const facts = [network, settings, quarantined, firewall, hasBridgeNetfilter]
    const inputs = [translation, host.options['nf_conntrack_helpers'], ...facts, ...asked]
    const ruleset = cache.make('ruleset', inputs, () => buildRuleset(translation, view, situation))
    cache.sweep()
    const diagnostics = [...translation.diagnostics, ...foresee(view, translation, seen.filters)]
    return { view, translation: { ...translation, diagnostics }, ruleset }
  })
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
