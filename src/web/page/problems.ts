/** What is wrong, first of all: the line, the caret under the word, and what to type instead. */
import type { Problem } from '../published.ts'
import { h } from './dom.ts'

const STEP = 4
/** As much of a line as is seen without scrolling, on a phone and elsewhere. */
const MAX_CHARS = { narrow: 32, wide: 100 }

interface Problems {
  show: (problems: readonly Problem[]) => void
}

export function makeProblems(root: HTMLElement, said: HTMLElement): Problems {
  let limit = STEP
  let known = new Map<string, Problem>()
  let isFirst = true
  let shown: readonly Problem[] = []
  const list = h('ol', { class: 'problems' })
  const more = h('button', { type: 'button', class: 'quiet' })
  const title = h('h2', { id: 'problems-title' })
  root.replaceChildren(title, list, more)
  const render = (): void => {
    list.replaceChildren(...shown.slice(0, limit).map(cardOf))
    more.hidden = shown.length <= limit
    const left = shown.length - limit
    more.textContent = left <= 50 ? `Show the other ${left}` : `Show 50 of the other ${left}`
  }
  more.addEventListener('click', () => {
    limit += 50
    render()
  })
  const show = (problems: readonly Problem[]): void => {
    shown = problems
    const now = new Map(shown.map((one) => [keyOf(one), one]))
    if (!isFirst) said.textContent = announcement(known, now)
    isFirst = false
    known = now
    root.hidden = shown.length === 0
    title.textContent = titleOf(shown)
    render()
  }
  return { show }
}

const keyOf = ({ file, line, code, message }: Problem): string => `${file}:${line}:${code}:${message}`

function titleOf(problems: readonly Problem[]): string {
  const count = (severity: Problem['severity']): number =>
    problems.filter((one) => one.severity === severity).length
  const parts = [
    [count('error'), 'error'] as const,
    [count('warning'), 'warning'] as const,
    [count('info'), 'note'] as const,
  ]
  return parts
    .filter(([n]) => n > 0)
    .map(([n, what]) => `${n} ${what}${n === 1 ? '' : 's'}`)
    .join(', ')
}

/** For who cannot see it: what came, and when all is gone. */
function announcement(before: ReadonlyMap<string, Problem>, now: ReadonlyMap<string, Problem>): string {
  const fresh = [...now].filter(([key]) => !before.has(key)).map(([, one]) => one)
  const [first] = fresh
  if (first)
    return `${fresh.length === 1 ? 'A new problem' : `${fresh.length} new problems`}: ${first.message}`
  if (before.size > 0 && now.size === 0) return 'No problems any more'
  return before.size > now.size ? `${now.size} problems left` : ''
}

function cardOf(problem: Problem): HTMLElement {
  const { file, line, severity, code, message, help, proposals } = problem
  return h(
    'li',
    { class: `problem ${severity}` },
    h('h3', {}, h('span', { class: `badge ${severity}` }, severity), ' ', message),
    h('p', { class: 'place' }, `${file}:${line}`, ' ', h('span', { class: 'code' }, code)),
    sourceOf(problem),
    help !== undefined && h('p', { class: 'help' }, help, ...proposals.flatMap(copyable)),
  )
}

/** The line with the word underlined; of a long one what is around it. */
function sourceOf({ text, line, column, endColumn }: Problem): HTMLElement {
  const chars = innerWidth < 640 ? MAX_CHARS.narrow : MAX_CHARS.wide
  const start = Math.max(0, Math.min(column - Math.floor(chars / 3), text.length - chars))
  const shown = text.slice(start, start + chars)
  const [from, to] = [column - start, Math.min(endColumn - start, shown.length)]
  const gutter = `${line} | `
  const caret = '^'.repeat(Math.max(1, to - from))
  return h(
    'pre',
    { tabindex: 0, role: 'region', 'aria-label': `line ${line}` },
    h('span', { class: 'gutter' }, gutter),
    shown.slice(0, from),
    h('mark', {}, shown.slice(from, to)),
    shown.slice(to),
    '\n',
    h('span', { class: 'caret', 'aria-hidden': 'true' }, ' '.repeat(gutter.length + from), caret),
  )
}

/** What can be typed, with a button that copies it. */
function copyable(text: string): HTMLElement[] {
  const button = h('button', { type: 'button', class: 'quiet', 'aria-label': `Copy: ${text}` }, 'Copy')
  const code = h('code', {}, text)
  button.addEventListener('click', () => void copy(text, code, button))
  return [code, button]
}

/** Where the browser has no clipboard for the page (plain HTTP of another name), the text is selected instead. */
async function copy(text: string, code: HTMLElement, button: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = 'Copied'
  } catch {
    getSelection()?.selectAllChildren(code)
    button.textContent = 'Press Ctrl+C'
  }
  setTimeout(() => (button.textContent = 'Copy'), 2000)
}
