/** One rule, all of it: its problems, its path, its last hour, its clients of this moment, and texts to copy. */
import { useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { PageRule } from '../view.ts'
import { Chart } from './chart.tsx'
import { amount, endpoint } from '../../show/cells.ts'
import { type Item } from './model.ts'
import { card } from './problems.tsx'
import { ask, choose, counters, current, problemsOf, status } from './store.ts'
import { badge, button, Copy, count, guiUrl } from './ui.tsx'

/** How often the connections are asked for. */
const ASK_MS = 3000
/** A documentation address: somebody outside. */
const SOMEBODY = '198.51.100.1'

export function Drawer(): JSX.Element {
  const item = current.value
  const id = item?.id
  const more = useSignal<PageRule>({ minutes: [], now: null })
  const root = useRef<HTMLElement>(null)
  useEffect(() => {
    const load = async (): Promise<void> => {
      const answer = id === undefined || document.hidden ? undefined : await ask<PageRule>(`rule?id=${id}`)
      if (answer && current.peek()?.id === id) more.value = answer
    }
    void load()
    const timer = setInterval(() => void load(), ASK_MS)
    return () => clearInterval(timer)
  }, [id])
  useEffect(() => root.current?.querySelector('button')?.focus({ preventScroll: true }), [])
  return (
    <aside class="drawer" aria-label="Rule" ref={root}>
      <header class="flex items-center gap-3">
        <h2>{item ? item.external : status.value ? 'This rule is gone' : 'Loading'}</h2>
        {item && badge(item.group, item.state)}
        {button('✕', () => choose({ rule: '' }), 'button ml-auto', { 'aria-label': 'Close the rule' })}
      </header>
      {item && details(item, more.value)}
    </aside>
  )
}

function details(item: Item, { minutes, now }: PageRule): JSX.Element {
  const [ever = 0, hour = 0] = counters.value.rules[item.id] ?? []
  const { row } = item
  const cards = problemsOf(item).map(card)
  const tone = item.group === 'working' ? '[--tone:var(--color-brand)]' : '[--tone:var(--color-dim)]'
  // The GUI keeps the choice behind `#v1`; 32 is the Firewall tab of a VM or a container.
  const gui = row.guest && now?.guestType && `#v1:0:=${now.guestType}%2F${row.guest.vmid}:4:::::32:32:`
  return (
    <div class="contents" key={item.id}>
      {cards.length > 0 ? cards : <p class="text-bad empty:hidden">{row.reason}</p>}
      <ol class={`path ${tone}`} aria-label="Path">
        {stations(item).map(([name, place]) => (
          <li>
            <span class="text-dim">{name}</span> {place}
          </li>
        ))}
      </ol>
      <section>
        <h3>New connections</h3>
        <Chart minutes={minutes} />
        <small>{`${hour} in the last hour, ${amount(ever, 1000)} since the rule came`}</small>
      </section>
      {clients(now)}
      {now?.block && <p>{`Block of ports of the guest: ${now.block}`}</p>}
      <div class="grid justify-items-start gap-1" role="group" aria-label="To copy">
        {textsOf(item).map((text) => (
          <Copy key={text} text={text} />
        ))}
      </div>
      <small>{`${row.comment} · ${row.file}:${row.line}`}</small>
      {gui && <a href={`${guiUrl()}${gui}`}>The guest’s Firewall tab in Proxmox VE</a>}
    </div>
  )
}

/** The stations of a packet, from where its connection begins. */
function stations({ row, source, external, target }: Item): [name: string, place: string][] {
  const isIn = row.kind === 'forward'
  const place = isIn ? target : row.source
  const list: [string, string | null][] = [
    ['internet', isIn ? source : ''],
    ['uplink', row.uplinks.join(', ') || null],
    [row.external.interface ?? 'external', isIn ? external : target],
    ['node', status.value?.node ?? ''],
    ['bridge', row.via],
    row.guest ? [`guest ${row.guest.vmid}`, `${row.guest.name} ${place}`] : ['inside', place],
  ]
  const known = list.filter((one): one is [string, string] => one[1] !== null)
  return isIn ? known : known.reverse()
}

function clients(now: PageRule['now']): JSX.Element {
  const { connections = [], total = 0 } = now ?? {}
  const left = total - connections.length
  return (
    <section aria-label="Connected now" class="tabular-nums">
      <h3>Connected now {count(now ? total : '?')}</h3>
      {connections.map(({ client, port, state }) => (
        <p class="flex gap-2 border-b border-line py-1">
          {`${client} → ${port}`} <span class="ml-auto shrink-0 text-dim">{state.toLowerCase()}</span>
        </p>
      ))}
      {!now && <small>Not known: the service does not answer.</small>}
      {left > 0 && <small>{`and ${left} more`}</small>}
    </section>
  )
}

/** The programs that people call the usual ports with. */
const CALLS: Readonly<Record<number, (host: string, port: number) => string>> = {
  22: (host, port) => `ssh -p ${port} root@${host}`,
  80: (host, port) => `curl http://${host}:${port}/`,
  443: (host, port) => `curl https://${host}:${port}/`,
}

function textsOf({ row: { external, proto, family, inner, kind } }: Item): string[] {
  const port = external.ports?.[0]?.[0]
  if (kind !== 'forward' || port === undefined) return []
  const own = (status.value?.external ?? []).flatMap(({ addresses }) => addresses)
  const fitting = own.filter((one) => family.includes(one.includes(':') ? 6 : 4))
  const [host = 'NODE'] = external.addresses === 'any' ? fitting : external.addresses
  const place = endpoint(host, [[port, port]])
  const call = proto[0] === 'tcp' ? CALLS[inner.ports?.[0]?.[0] ?? 0]?.(host, port) : undefined
  return [place, call ?? [], `pvenat explain ${proto[0] ?? 'tcp'} ${SOMEBODY} ${place}`].flat()
}
