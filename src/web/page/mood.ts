/** Is all well? In one line; if not, the reason and the thing to do. */
import { h, type JSX } from 'preact'
import { SILENT_MS } from '../../show/silence.ts'
import { span, type Group } from './model.ts'
import { clock, counters, link, status } from './store.ts'
import { guiUrl, small, TONES } from './ui.ts'

/** `todo` can be typed on the node. */
type Judged = [tone: Group, word: string, why?: string, todo?: string]

function judge(): Judged {
  const { value: known } = status
  const ago = (iso: string): string => span(clock.value - Date.parse(iso))
  const old = counters.value.at ? `; shown is what was known ${ago(counters.value.at)} ago` : ''
  if (link.value === 'login') return ['off', 'Logged out', `your login to Proxmox VE has ended${old}`]
  if (link.value === 'forbidden') return ['off', 'Not allowed', 'your user needs Sys.Audit on this node']
  if (link.value === 'lost')
    return ['off', 'Cut off', `the server of this page does not answer${old}`, 'systemctl restart pvenat-web']
  if (known === undefined) return ['off', 'Loading']
  const start = 'systemctl start pvenat'
  if (!known) return ['errors', 'Service is down', 'it has not said anything yet', start]
  const stays = 'what was in force stays in force, new rules wait'
  if (known.pid === null) return ['errors', 'Service is down', `it was stopped; ${stays}`, start]
  if (clock.value - Date.parse(known.updatedAt) > SILENT_MS)
    return ['errors', 'Service is silent', `for ${ago(known.updatedAt)}; ${stays}`, 'systemctl status pvenat']
  if (known.level !== 'OK') return [LEVELS[known.level], known.level, known.reasons[0] ?? '']
  return ['working', 'OK', known.since ? `in sync for ${ago(known.since)}` : '']
}

const LEVELS = { WARNING: 'pending', CRITICAL: 'errors' } as const
const LOGO = {
  d: 'M4 10h8c8 0 8 12 16 12M4 22h8c8 0 8-12 16-12',
  fill: 'none',
  stroke: '#fff',
  'stroke-width': 3,
}

export function Mood(): JSX.Element {
  const { value: known } = status
  const [tone, word, why = '', todo] = judge()
  const login = ['login', 'forbidden'].includes(link.value) && h('a', { href: guiUrl() }, 'Log in to the GUI')
  const style = `mood ${TONES[tone]} ${todo || login ? 'banner' : ''}`
  return h(
    'header',
    { class: 'flex flex-wrap items-center gap-x-4 gap-y-1 py-3' },
    h(
      'svg',
      { viewBox: '0 0 32 32', 'aria-hidden': true, class: 'w-8 rounded-lg bg-[#1f6f78]' },
      h('path', LOGO),
    ),
    h('h1', { class: 'text-lg font-semibold' }, known ? `NAT on ${known.node}` : 'NAT'),
    h(
      'p',
      { role: 'status', class: style },
      h('strong', null, word),
      ` ${why} `,
      todo && h('code', null, todo),
      login,
    ),
    known &&
      h(
        'span',
        { class: 'ml-auto max-md:hidden' },
        small(`${known.firewall ?? '?'} · pvenat ${known.version}`),
      ),
  )
}
