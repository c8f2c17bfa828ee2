/** What guests hold after a look, for the next one. */
import { nextLedger } from '../src/nat/ledger.ts'
import { NO_RIGHTS, type Ledger } from '../src/nat/rights.ts'
import type { Outcome } from '../src/pipeline.ts'

export function ledgerAfter({ view, translation }: Pick<Outcome, 'view' | 'translation'>): Ledger {
  return { ...NO_RIGHTS, ...nextLedger(view, translation.rights) }
}
