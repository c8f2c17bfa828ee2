/**
 * Flows of guests that began untranslated, before their rule was there, say, and that nobody answered. Each packet of them leaves with an address
 * of the inside, to which no answer comes, and renews the entry. When the entry is ended, the rules of now decide about the next packet;
 * where none translates it, the same entry comes back.
 */
import type { Range } from '../address.ts'
import { parseFlows, type Flow } from './flows.ts'
import { holds } from './sources.ts'

/** Of lines of `conntrack -L` those flows that go out, from these sources to none of the networks inside. */
export function unanswered(
  lines: readonly string[],
  sources: readonly Range[],
  inside: readonly Range[],
): Flow[] {
  const isOutside = (address: Range): boolean => !holds({ ranges: inside }, address)
  return parseFlows(lines.filter(isUntranslated), isOutside).filter(({ source }) =>
    holds({ ranges: sources }, source),
  )
}

function isUntranslated(line: string): boolean {
  const [, source, answered] = / src=(\S+) .*\[UNREPLIED\] src=\S+ dst=(\S+) /.exec(line) ?? []
  return source !== undefined && source === answered
}
