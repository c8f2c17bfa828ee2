/** Problems by kind: the line, the marked word, the help, and the way to the rule. */
import type { JSX } from 'preact'
import type { Problem } from '../../node/published.ts'
import { groupBy, wordsOf, type Group } from './model.ts'
import { choose, chosen, problems, ruleOf } from './store.ts'
import { badge, button, count, TONES, withCopies } from './ui.tsx'

/** Characters of a long line that are shown, from 30 before the marked word. */
const MAX_CHARS = 100
/** Of one kind; a search finds the others. */
const MAX_OF_KIND = 20
const TONE_OF = { error: 'errors', warning: 'pending', info: 'off' } as const satisfies Record<string, Group>

export function Problems(): JSX.Element {
  const words = wordsOf(chosen.value.q)
  const found = problems.value.filter(({ file, line, message, code, text }) => {
    const all = `${file}:${line} ${code} ${message} ${text}`.toLowerCase()
    return words.every((word) => all.includes(word))
  })
  if (found.length === 0)
    return <p class="nothing">{problems.value.length > 0 ? 'No problem matches.' : 'No problems.'}</p>
  return <div>{[...groupBy(found, ({ code }) => code).values()].map(kind)}</div>
}

function kind(some: readonly Problem[]): JSX.Element {
  const { severity, code } = some[0] as Problem
  const isMore = some.length > MAX_OF_KIND
  return (
    <details key={code} open class="kind card mb-3">
      <summary class="px-4 py-2">
        {badge(TONE_OF[severity], severity)} <b>{code}</b> {count(some.length)}
      </summary>
      {some.slice(0, MAX_OF_KIND).map(card)}
      {isMore && <p class="p-4 text-dim">The others: search for a guest or a file.</p>}
    </details>
  )
}

export function card(problem: Problem): JSX.Element {
  const { file, line, column, endColumn, text, message, help = '', proposals, severity, code } = problem
  const rule = ruleOf(problem)
  const isOpen = rule !== undefined && rule.id === chosen.value.rule
  const [from, to] = [column - 1, Math.max(column, endColumn - 1)]
  const start = Math.max(0, Math.min(from - 30, text.length - MAX_CHARS))
  return (
    <article class={`problem ${TONES[TONE_OF[severity]]}`}>
      <p>
        <span class="block">{message}</span>
        <small>{`${file}:${line}`}</small>{' '}
        {rule && !isOpen && button('Show the rule', () => choose({ rule: rule.id }))}
        {isOpen && button('All of this kind', () => choose({ tab: 'problems', q: code }))}
      </p>
      <div>
        <pre tabIndex={0} class="overflow-x-auto rounded bg-page px-3 py-1 font-mono text-[0.92em]">
          {text.slice(start, from)}
          <mark class="bg-transparent font-bold text-(--tone) underline decoration-wavy">
            {text.slice(from, to)}
          </mark>
          {text.slice(to, start + MAX_CHARS)}
        </pre>
        {withCopies(help, proposals)}
      </div>
    </article>
  )
}
