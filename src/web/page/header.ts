/** Is all well? In one line, and why not. */
import type { PageStatus } from '../view.ts'
import { byId, h } from './dom.ts'
import { SILENT_MS, span } from './model.ts'

type Mood = 'good' | 'bad' | 'unsure'

export function renderHeader(root: HTMLElement, status: PageStatus, isConnected: boolean, now: number): void {
  const [mood, headline, why] = judge(status, isConnected, now)
  const facts = status
    ? [
        ['firewall', [status.firewall ?? 'unknown', status.backend].filter(Boolean).join(', ')],
        [
          'last change',
          status.lastApply === null ? 'none yet' : `${span(now - Date.parse(status.lastApply))} ago`,
        ],
        ['version', status.version],
      ]
    : []
  const key = JSON.stringify([mood, headline, why, facts])
  if (root.dataset['key'] === key) return
  root.dataset['key'] = key
  root.replaceChildren(
    h(
      'div',
      { class: `mood ${mood}`, role: 'status' },
      h('span', { class: 'light', 'aria-hidden': 'true' }),
      h('strong', {}, headline),
      why !== '' && h('span', { class: 'why' }, why),
    ),
    h(
      'dl',
      { class: 'facts' },
      ...facts.flatMap(([term = '', text = '']) => [h('div', {}, h('dt', {}, term), h('dd', {}, text))]),
    ),
  )
  const title = `NAT${status ? ` on ${status.node}` : ''}`
  byId('title').textContent = title
  document.title = `${mood === 'good' ? '' : '! '}${title}`
}

function judge(status: PageStatus, isConnected: boolean, now: number): [Mood, string, string] {
  if (!isConnected) return ['unsure', 'No connection', 'pvenat web does not answer; what is shown may be old']
  if (!status)
    return ['unsure', 'Nothing known', 'the service has not said anything; is pvenat.service running?']
  if (status.pid === null) return ['unsure', 'Service stopped', 'what was in force stays']
  const silence = now - Date.parse(status.updatedAt)
  if (silence > SILENT_MS)
    return ['unsure', 'Service silent', `for ${span(silence)}; what was in force stays`]
  const since = status.since === null ? '' : `in sync for ${span(now - Date.parse(status.since))}`
  if (status.level === 'OK') return ['good', status.level, since]
  return [status.level === 'WARNING' ? 'unsure' : 'bad', status.level, status.reasons.join('; ')]
}
