/** The external addresses and networks that rules of the datacenter and the node name, whatever else is in the rules. */
import type { Range } from '../address.ts'
import { parseEndpoint } from './endpoint.ts'
import { collectMarked, type Source } from './marked.ts'
import type { View } from './view.ts'
import { readWords } from './words.ts'

export interface Named {
  addresses: Range[]
  /** Networks that are mapped as a whole. */
  networks: Range[]
}

export function namedIn(sources: readonly Source[], view: View): Named {
  const endpoints = sources
    .flatMap((source) => collectMarked(source, view).marked)
    .filter(({ off }) => off === '')
    .flatMap(({ rule }) => {
      const [first] = readWords(rule.comment).words
      const endpoint = first && parseEndpoint(first.text)
      return typeof endpoint === 'object' ? endpoint : []
    })
  return {
    addresses: endpoints.flatMap(({ address }) => address ?? []),
    networks: endpoints.flatMap(({ network }) => network ?? []),
  }
}
