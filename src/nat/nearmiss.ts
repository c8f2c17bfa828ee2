/** Comments that do not begin with NAT but look as if they were meant to. */
import { diagnose, type Diagnostic, type Place } from '../diagnostic.ts'
import { parseComment, type Around } from './comment.ts'
import { plain } from './free-text.ts'
import { isMarked, placeOf, splitWords, type Word } from './words.ts'

/** `nat`, `NAT-T`, `NAT2223`, `DNAT`: the letters, and no letter behind them. Words such as `native` are none. */
const ALMOST = /^[ds]?nat(?![\p{L}\p{M}])/iu

/** The diagnostic for a comment that is not marked; `place` is where it stands. */
export function nearMiss(comment: string | undefined, place: Place, around: Around): Diagnostic | undefined {
  // Most comments hold nothing of it, full-width letters included.
  if (comment === undefined || !/nat|\uff2e|\uff4e/i.test(comment) || isMarked(comment)) return undefined
  const words = splitWords(comment)
  const [first] = words
  if (!first) return undefined
  const start = plain(first.text).replace(/\p{Cf}/gu, '')
  const [letters] = ALMOST.exec(start) ?? []
  if (letters !== undefined) {
    const behind = start.slice(letters.length)
    const joined = [behind.replace(/^[^\p{L}\p{N}?[]+/u, ''), ...textsOf(words.slice(1))].filter(Boolean)
    return tell(first, ['NAT', ...joined].join(' '), behind.replace(/^:/, '') === '')
  }
  // `port NAT 2223`: only where an endpoint follows.
  const at = words.findIndex(({ text }, i) => i > 0 && /^nat:?$/i.test(text) && isValue(words.slice(i + 1)))
  const word = words[at]
  return word && tell(word, ['NAT', ...textsOf(words.slice(at + 1))].join(' '), false)

  function tell(word: Word, meant: string, isWord: boolean): Diagnostic | undefined {
    const isGood = isWord ? isClean(meant) : isClean(meant) && hasEndpoint(meant)
    const facts = { word: comment as string, meant: isGood ? meant : `NAT - ${comment}` }
    return diagnose(
      'near-miss',
      placeOf(place, comment as string, word.at, word.at + word.text.length),
      facts,
    )
  }
  function isValue(rest: readonly Word[]): boolean {
    return hasEndpoint(['NAT', ...textsOf(rest)].join(' '))
  }
  function isClean(text: string): boolean {
    return isMarked(text) && parseComment(text, place, around).problems.length === 0
  }
  function hasEndpoint(text: string): boolean {
    return text === 'NAT' || parseComment(text, place, { ...around, direction: 'in' }).endpoint !== undefined
  }
}

function textsOf(words: readonly Word[]): string[] {
  return words.map(({ text }) => text)
}
