/** A node without a rule: what to type where. And a helper that writes a rule for somebody to type; it changes nothing. */
import { signal, useSignal } from '@preact/signals'
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { NodeAnswer } from '../../node/asking.ts'
import { formatPorts, type PortRange } from '../../ports.ts'
import { ask, items, status } from './store.ts'
import { button, Copy, guiUrl, TONES } from './ui.tsx'

/** Null while the service does not answer. */
const node = signal<NodeAnswer | null>(null)
const askNode = async (): Promise<void> => void (node.value = (await ask<NodeAnswer | null>('node')) ?? null)

export function FirstRun({ openHelper }: { openHelper: () => void }): JSX.Element {
  useEffect(() => void askNode(), [status.value])
  const { firewall, external = [], internal = [] } = status.value ?? {}
  const [address = 'ADDRESS'] = external.flatMap(({ addresses }) => addresses)
  const outside = external.map((one) => `${one.addresses.join(', ')} (${one.interface})`).join('; ')
  const inside = internal.map((one) => `${one.network} (${one.interface})`).join('; ')
  return (
    <section class="card mx-auto my-6 grid max-w-3xl gap-4 p-4 sm:p-8" aria-labelledby="first">
      <h2 id="first">No rule is marked NAT yet</h2>
      <p>A firewall rule whose comment begins with NAT also works as NAT, within a second.</p>
      <ol class="grid list-decimal gap-3 pl-5">
        {firewall === 'disabled' && (
          <li>
            <b>The firewall of the datacenter is off, so no rule counts.</b> Allow ssh and port 8006 for
            yourself, then switch it on in <a href={guiUrl()}>the GUI</a>: Datacenter → Firewall → Options →
            Firewall: Yes.
          </li>
        )}
        <li>
          <b>Let people in.</b> Choose the guest → Firewall → Options → Firewall: Yes. Then Firewall → Add:
          Direction in, Action ACCEPT, Macro SSH, Enable ✓, Comment <Copy text="NAT 2222" /> and the guest
          answers: <Copy text={`ssh -p 2222 root@${address}`} />
        </li>
        {node.value?.guests.some(({ free }) => free) && (
          <li>
            <b>Each guest has a block of ports.</b> <Copy text="NAT auto" /> takes the port from it.
          </li>
        )}
        <li>
          <b>Let guests out.</b> Datacenter → Firewall → Add: Direction out, Action ACCEPT, Enable ✓, Source{' '}
          <Copy text={internal[0]?.network ?? '10.10.10.0/24'} />, Comment <Copy text="NAT" />
        </li>
      </ol>
      {button('Write a forward for me…', openHelper, 'button primary justify-self-start')}
      <small>
        External: {outside || 'no interface has a default route'}. Internal:{' '}
        {inside || 'no other bridge has an address of this node'}.
      </small>
    </section>
  )
}

const SERVICES: readonly [name: string, proto: string, port: number][] = [
  ['SSH', 'tcp', 22],
  ['Web, HTTP', 'tcp', 80],
  ['Web, HTTPS', 'tcp', 443],
  ['Remote desktop', 'tcp', 3389],
  ['WireGuard', 'udp', 51820],
  ['Minecraft', 'tcp', 25565],
  ['another, TCP', 'tcp', 8080],
  ['another, UDP', 'udp', 5000],
]

const holds = (ranges: readonly PortRange[] | null, port: string): boolean =>
  ranges?.some(([lo, hi]) => lo <= Number(port) && Number(port) <= hi) ?? false

export function Helper({ onClose }: { onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const form = useSignal({ guest: '', service: 'SSH', inner: '22', outer: '2222' })
  useEffect(() => {
    dialog.current?.showModal()
    void askNode()
  }, [])
  const { guest, service } = form.value
  const field = (name: string, key: keyof Form, more: JSX.IntrinsicElements['input']): JSX.Element => (
    <label class="grid gap-1">
      {name}
      <input
        value={form.value[key]}
        onInput={({ currentTarget }) => (form.value = { ...form.value, [key]: currentTarget.value })}
        {...more}
      />
    </label>
  )
  const pick = (name: string): void => {
    const port = SERVICES.find(([one]) => one === name)?.[2] ?? 0
    form.value = { guest, service: name, inner: `${port}`, outer: `${port < 1024 ? port + 2200 : port}` }
  }
  const number = { type: 'number', min: 1, max: 65535 } as const
  return (
    <dialog
      ref={dialog}
      onClose={onClose}
      aria-labelledby="helper"
      class="card m-auto w-[min(44rem,94vw)] p-6"
    >
      <header class="flex items-center">
        <h2 id="helper">New forward</h2>
        {button('✕', onClose, 'button ml-auto', { 'aria-label': 'Close' })}
      </header>
      <p class="mb-4">
        <small>This page changes nothing: it writes the rule, you put it into Proxmox VE.</small>
      </p>
      <div class="grid gap-3 sm:grid-cols-4">
        {field('Guest', 'guest', { list: 'guests', placeholder: 'VMID', autofocus: true })}
        <datalist id="guests">
          {node.value?.guests.map(({ vmid, name, addresses }) => (
            <option value={`${vmid} ${name}`}>{addresses.join(', ') || 'no address known'}</option>
          ))}
        </datalist>
        <label class="grid gap-1">
          Service
          <select value={service} onChange={({ currentTarget }) => pick(currentTarget.value)}>
            {SERVICES.map(([name]) => (
              <option>{name}</option>
            ))}
          </select>
        </label>
        {field('Port of the guest', 'inner', number)}
        {field('Outside port', 'outer', number)}
      </div>
      {written(form.value)}
    </dialog>
  )
}

type Form = Readonly<Record<'guest' | 'service' | 'inner' | 'outer', string>>

function written({ guest, service, inner, outer }: Form): JSX.Element {
  const proto = SERVICES.find(([name]) => name === service)?.[1] ?? 'tcp'
  const isWrong = [inner, outer].some((port) => !/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535)
  const vmid = /^\d+/.exec(guest)?.[0] ?? 'VMID'
  const { type = 'qemu', free } = node.value?.guests.find((one) => String(one.vmid) === vmid) ?? {}
  const rivals = items.value.filter(({ row }) => row.kind === 'forward' && row.state !== 'inactive')
  const rival = rivals.find(({ row }) => row.proto.includes(proto) && holds(row.external.ports, outer))
  const taken = node.value?.taken.find((one) => one.proto === proto && holds([one.ports], outer))
  const holder = rival?.rule ?? taken?.holder
  const isOutside = free && !holds(free, outer)
  const outside = `is no free port of the guest’s block, ${formatPorts(free ?? []) || 'which is full'}`
  const unused = node.value ? 'is free' : 'is in no NAT rule; the service does not say what else uses it'
  const why = isOutside ? outside : holder ? `belongs to ${holder}` : unused
  const isFree = !isWrong && !isOutside && holder === undefined
  const comment = isOutside ? 'NAT auto' : outer === inner ? 'NAT' : `NAT ${outer}`
  const path = `/nodes/${status.value?.node ?? 'NODE'}/${type}/${vmid}/firewall/rules`
  const rule = `--type in --action ACCEPT --enable 1 --proto ${proto} --dport ${inner} --comment '${comment}'`
  const fields = `Direction in, Action ACCEPT, Protocol ${proto}, Dest. port ${inner}, Enable ✓, Comment ${comment}`
  const texts: [string, ComponentChildren][] = [
    ['Comment', <Copy text={comment} />],
    ['In the GUI', `Guest ${vmid} → Firewall → Add: ${fields}`],
    ['On the node', <Copy text={`pvesh create ${path} ${rule}`} />],
  ]
  const list = texts.map(([name, text]) => [<dt>{name}</dt>, <dd>{text}</dd>])
  return (
    <div>
      <p role="status" class={`my-4 font-semibold text-(--tone) ${TONES[isFree ? 'working' : 'errors']}`}>
        {isWrong ? 'Ports go from 1 to 65535' : `${outer}/${proto} ${why}`}
      </p>
      {(isFree || (isOutside && !isWrong)) && (
        <dl class="grid grid-cols-[auto_1fr] gap-x-4 gap-y-2 [&>dt]:text-dim">{list}</dl>
      )}
    </div>
  )
}
