/** External addresses and networks in the comments of rules of the datacenter and node. Addresses of rules with errors count, too. */
import type { Range } from '../address.ts'
import { isError } from '../diagnostic.ts'
import { parseComment } from './comment.ts'
import { parseEndpoint } from './endpoint.ts'
import { collectMarked, type Marked, type Source } from './marked.ts'
import { aroundOf } from './pairing.ts'
import type { View } from './view.ts'
import { readWords } from './words.ts'

export interface Named {
  addresses: Range[]
  /** Networks that well-formed rules map as a whole. */
  networks: Range[]
}

export function namedIn(sources: readonly Source[], view: View): Named {
  const marked = sources
    .flatMap((source) => collectMarked(source, view).marked)
    .filter(({ off }) => off === '')
  const named = marked.flatMap((one) => {
    const [first] = readWords(one.rule.comment).words
    const endpoint = first && parseEndpoint(first.text)
    return typeof endpoint === 'object' ? [{ one, endpoint }] : []
  })
  return {
    addresses: named.flatMap(({ endpoint: { address } }) => address ?? []),
    networks: named.flatMap(({ one, endpoint: { network } }) => (network && maps(one, view) ? network : [])),
  }
}

/** Whether a rule that names a network is well formed. */
function maps({ rule, place }: Marked, { network, services }: View): boolean {
  if (rule.type !== 'in' || rule.action === 'DROP' || rule.action === 'REJECT') return false
  return !parseComment(rule.comment, place, aroundOf(rule, network, services)).problems.some(isError)
}
