/** Is all well? The level and the reason that `pvenat status` gives, as long as the page can know them. */
import type { JSX } from 'preact'
import { NOT_RUNNING, SILENT_MS } from '../../show/silence.ts'
import { span, type Group } from './model.ts'
import { clock, counters, link, status } from './store.ts'
import { guiUrl, TONES } from './ui.tsx'

function judge(): [word: string, why: string] {
  const { value: known } = status
  const ago = (iso: string): string => span(clock.value - Date.parse(iso))
  const old = counters.value.at ? `; shown is the state of ${ago(counters.value.at)} ago` : ''
  if (link.value === 'login') return ['Logged out', `your login to Proxmox VE has ended${old}`]
  if (link.value === 'forbidden') return ['Not allowed', 'your user needs Sys.Audit on this node']
  if (link.value === 'lost')
    return ['Cut off', `the server of this page does not answer${old}: systemctl restart pvenat-web`]
  if (known === undefined) return ['Loading', '']
  if (known === null) return ['CRITICAL', NOT_RUNNING]
  if (known.pid !== null && clock.value - Date.parse(known.updatedAt) > SILENT_MS)
    return ['CRITICAL', `the service has said nothing for ${ago(known.updatedAt)}: systemctl status pvenat`]
  return [known.level, known.reasons[0] ?? (known.since ? `in sync for ${ago(known.since)}` : '')]
}

const LEVELS: Readonly<Record<string, Group>> = { OK: 'working', WARNING: 'pending', CRITICAL: 'errors' }

const BANNER = 'order-last basis-full rounded-lg border border-l-4 border-(--tone) bg-card px-4 py-2'
const LIGHT =
  'text-(--tone) before:mr-2 before:inline-block before:size-2.5 before:rounded-full before:bg-(--tone)'

export function Mood(): JSX.Element {
  const { value: known } = status
  const [word, why] = judge()
  // A reason may end with a command.
  const [, reason, todo] = /^(.*?)(?:: ((?:systemctl|pvenat) .*))?$/.exec(why) ?? []
  const isOut = link.value === 'login' || link.value === 'forbidden'
  return (
    <header class="flex flex-wrap items-center gap-x-4 gap-y-1 py-3">
      <img src="icon.svg" alt="" class="w-8" />
      <h1 class="text-lg font-semibold">{known ? `NAT on ${known.node}` : 'NAT'}</h1>
      <p role="status" class={`${TONES[LEVELS[word] ?? 'off']} ${todo || isOut ? BANNER : ''}`}>
        <strong class={LIGHT}>{word}</strong> {reason} {todo && <code>{todo}</code>}
        {isOut && <a href={guiUrl()}>Log in to the GUI</a>}
      </p>
      {known && (
        <small class="ml-auto max-md:hidden">{`${known.firewall ?? '?'} · pvenat ${known.version}`}</small>
      )}
    </header>
  )
}
