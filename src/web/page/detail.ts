/** One rule, all of it: its way, its state, its hour. */
import { formatPorts } from '../../ports.ts'
import type { PageHistory, PageStatus } from '../view.ts'
import { h } from './dom.ts'
import { KIND_NAMES, type Item } from './model.ts'
import { largeGraph } from './spark.ts'

interface DetailInput {
  item: Item
  status: PageStatus
  counts: readonly [ever: number, hour: number] | undefined
  history: PageHistory
}

export function renderDetail(root: HTMLElement, input: DetailInput | undefined, close: () => void): void {
  // What stands there stays while nothing of it changes: somebody may be reading, or have the focus in it.
  const { item: one, counts: now, history: past, status } = input ?? {}
  const key = JSON.stringify([one, now, past?.since, one && past?.rules[one.id], status?.node])
  if (root.dataset['key'] === key) return
  root.dataset['key'] = key
  if (!input) {
    root.replaceChildren(h('p', { class: 'hint' }, 'Choose a line or a row to follow its way.'))
    return
  }
  const { item, counts, history } = input
  const { row } = item
  const button = h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close the details' }, '✕')
  button.addEventListener('click', close)
  root.replaceChildren(
    h(
      'header',
      {},
      h('h2', {}, item.guest || KIND_NAMES[row.kind]),
      h('span', { class: `badge ${row.state}` }, row.state),
      button,
    ),
    ...(row.reason === '' ? [] : [h('p', { class: 'reason' }, row.reason)]),
    h(
      'ol',
      { class: 'stations', 'aria-label': 'Its way' },
      ...stations(input).map(([what, where]) => station(what, where)),
    ),
    h('h3', {}, 'New connections in the last hour'),
    largeGraph(history.rules[item.id] ?? [], history.since),
    h(
      'p',
      { class: 'small' },
      `${counts?.[1] ?? 0} in the last hour, ${counts?.[0] ?? 0} since the rule was put in place`,
    ),
    h(
      'dl',
      {},
      ...pair('Source', item.source),
      ...pair('Comment', row.comment),
      ...pair('Written in', `${row.file}:${row.line}`),
    ),
  )
}

function pair(term: string, text: string): HTMLElement[] {
  return [h('dt', {}, term), h('dd', {}, text)]
}

function station(what: string, where: string): HTMLElement {
  return h('li', {}, h('span', { class: 'what' }, what), h('span', { class: 'mono' }, where))
}

function stations({ item, status }: DetailInput): [string, string][] {
  const { row } = item
  const name = status?.node ?? 'this node'
  const ports = row.external.ports ? ` port ${formatPorts(row.external.ports)}` : ''
  const addresses =
    row.external.addresses === 'any' ? 'any external address' : row.external.addresses.join(', ')
  const outside: [string, string] = [row.external.interface ?? 'outside', `${addresses}${ports}`]
  const inside: [string, string] = [item.guest || 'inside', item.inside]
  const bridge: [string, string][] = row.via === null ? [] : [['bridge', row.via]]
  if (row.kind === 'forward') return [['internet', item.source], outside, ['node', name], ...bridge, inside]
  if (row.kind === 'egress')
    return [[item.guest || 'inside', item.source], ...bridge, ['node', name], outside]
  return [inside]
}
