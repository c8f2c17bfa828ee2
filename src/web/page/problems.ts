/** Problems by kind: the line, the marked word, the help, and the way to the rule. */
import { h, type JSX } from 'preact'
import type { Problem } from '../published.ts'
import { groupBy, type Group } from './model.ts'
import { choose, chosen, problems, ruleOf } from './store.ts'
import { badge, button, copy, count, small, TONES } from './ui.ts'

/** As much of a long line as is shown around the marked word. */
const MAX_CHARS = 100
/** Of one kind; a search finds the others. */
const MAX_OF_KIND = 20
const TONE_OF = { error: 'errors', warning: 'pending', info: 'off' } as const satisfies Record<string, Group>

export function Problems(): JSX.Element {
  const words = chosen.value.query.toLowerCase().split(/\s+/)
  const found = problems.value.filter(({ file, line, message, code, text }) => {
    const all = `${file}:${line} ${code} ${message} ${text}`.toLowerCase()
    return words.every((word) => all.includes(word))
  })
  const kinds = groupBy(found, ({ code }) => code)
  const nothing = problems.value.length > 0 ? 'No problem matches.' : 'No problems.'
  return h('div', null, [...kinds].map(kind), kinds.size === 0 && h('p', { class: 'nothing' }, nothing))
}

function kind([code, some]: [string, Problem[]]): JSX.Element {
  const { severity = 'info' } = some[0] ?? {}
  const rest =
    some.length > MAX_OF_KIND &&
    h('p', { class: 'p-4 text-dim' }, 'The others: search for a guest or a file.')
  const title = [badge(TONE_OF[severity], severity), ' ', h('b', null, code), ' ', count(some.length)]
  const summary = h('summary', { class: 'px-4 py-2' }, title)
  return h(
    'details',
    { key: code, open: true, class: 'kind card mb-3' },
    summary,
    some.slice(0, MAX_OF_KIND).map(card),
    rest,
  )
}

export function card(problem: Problem): JSX.Element {
  const { file, line, message, help = '', severity, code } = problem
  const rule = ruleOf(problem)
  const isOpen = rule !== undefined && rule.id === chosen.value.rule
  const typed = /(?<=: |^)(NAT\b.*|\[guest \d+\] .*)$/.exec(help)?.[0] ?? ''
  const back = isOpen && chosen.value.tab !== 'problems'
  return h(
    'article',
    { class: `problem ${TONES[TONE_OF[severity]]}` },
    h(
      'p',
      null,
      message,
      ' ',
      small(`${file}:${line}`),
      ' ',
      rule && !isOpen && button(() => choose({ rule: rule.id }), 'Show the rule'),
      back && button(() => choose({ tab: 'problems', query: code }), 'All of this kind'),
    ),
    h('div', null, sourceLine(problem), help.slice(0, help.length - typed.length), typed && copy(typed)),
  )
}

function sourceLine({ text, column, endColumn }: Problem): JSX.Element {
  const start = Math.max(0, Math.min(column - 30, text.length - MAX_CHARS))
  const to = Math.max(column + 1, endColumn)
  const mark = h('mark', null, text.slice(column, to))
  return h('pre', { tabIndex: 0 }, text.slice(start, column), mark, text.slice(to, start + MAX_CHARS))
}
