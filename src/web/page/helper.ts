/** A node without a rule: what to type where. And a helper that writes a rule for somebody to type; it changes nothing. */
import { useSignal } from '@preact/signals'
import { h, type ComponentChildren, type JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { PageNode } from '../view.ts'
import { ask, items, status } from './store.ts'
import { button, copy, guiUrl, small, TONES } from './ui.ts'

const li = (title: string, ...rest: ComponentChildren[]): JSX.Element =>
  h('li', null, h('b', null, title), ' ', rest)

export function FirstRun({ openHelper }: { openHelper: () => void }): JSX.Element {
  const { firewall, external = [], internal = [] } = status.value ?? {}
  const [address = 'ADDRESS'] = external.flatMap(({ addresses }) => addresses)
  const outside = external.map((one) => `${one.addresses.join(', ')} (${one.interface})`).join('; ')
  const inside = internal.map((one) => `${one.network} (${one.interface})`).join('; ')
  const [off, on] = [
    'The firewall of the datacenter is off, so no rule counts.',
    'Datacenter → Firewall → Options → Firewall: Yes.',
  ]
  const gui = h('a', { href: guiUrl() }, 'the GUI')
  const add = 'Firewall → Add: Direction'
  return h(
    'section',
    { class: 'card mx-auto my-6 grid max-w-3xl gap-4 p-8', 'aria-labelledby': 'first' },
    h('h2', { id: 'first' }, 'No rule is marked NAT yet'),
    h('p', null, 'A firewall rule whose comment begins with NAT also works as NAT, within a second.'),
    h(
      'ol',
      { class: 'grid list-decimal gap-3 pl-5' },
      firewall === 'disabled' &&
        li(off, `Allow ssh and port 8006 for yourself, then switch it on in `, gui, `: ${on}`),
      li(
        'Let people in.',
        'Choose the guest → Firewall → Options → Firewall: Yes. Then ',
        `${add} in, Action ACCEPT, Macro SSH, Enable ✓, Comment `,
        copy('NAT 2222'),
        '. The guest then answers: ',
        copy(`ssh -p 2222 root@${address}`),
      ),
      li(
        'Let guests out.',
        `Datacenter → ${add} out, Action ACCEPT, Enable ✓, Source `,
        copy(internal[0]?.network ?? '10.10.10.0/24'),
        ', Comment ',
        copy('NAT'),
      ),
    ),
    button(openHelper, 'Write a forward for me…', 'button primary'),
    small(
      `External: ${outside || 'no interface has a default route'}. Internal: ${inside || 'no other bridge has an address of this node'}.`,
    ),
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

/** Who has an external port, or undefined. */
function holderOf(proto: string, port: number, node: PageNode | undefined): string | undefined {
  const holds = (ranges: readonly (readonly [number, number])[] | null): boolean =>
    (ranges ?? []).some(([lo, hi]) => lo <= port && port <= hi)
  const rivals = items.value.filter(({ row }) => row.kind === 'forward' && row.state !== 'inactive')
  const rule = rivals.find(({ row }) => row.proto.includes(proto) && holds(row.external.ports))
  return rule?.rule ?? node?.taken.find((one) => one.proto === proto && holds([one.ports]))?.holder
}

interface Form {
  guest: string
  service: string
  inner: number
  outer: number
}

export function Helper({ close }: { close: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null)
  const node = useSignal<PageNode | undefined>(undefined)
  const form = useSignal<Form>({ guest: '', service: 'SSH', inner: 22, outer: 2222 })
  const { guest, service } = form.value
  const set = (change: Partial<Form>): void => void (form.value = { ...form.value, ...change })
  useEffect(() => {
    dialog.current?.showModal()
    void ask<PageNode | null>('node').then((answer) => (node.value = answer ?? undefined))
  }, [])
  const pick = (name: string): void => {
    const port = SERVICES.find(([one]) => one === name)?.[2] ?? 0
    set({ service: name, inner: port, outer: port < 1024 ? port + 2200 : port })
  }
  const field = (name: string, ...inputs: JSX.Element[]): JSX.Element =>
    h('label', { class: 'grid gap-1 text-sm' }, name, inputs)
  const port = (name: string, key: 'inner' | 'outer'): JSX.Element => {
    const value = Number.isNaN(form.value[key]) ? '' : form.value[key]
    return field(
      name,
      h('input', {
        type: 'number',
        min: 1,
        max: 65535,
        value,
        onInput: (event) => set({ [key]: event.currentTarget.valueAsNumber }),
      }),
    )
  }
  const guests = (node.value?.guests ?? []).map(({ vmid, name, addresses }) =>
    h('option', { value: `${vmid} ${name}` }, addresses.join(', ') || 'no address known'),
  )
  const box = { list: 'guests', placeholder: 'VMID', value: guest, autofocus: true }
  const known = h('datalist', { id: 'guests' }, guests)
  const names = SERVICES.map(([name]) => h('option', null, name))
  const onChange = ({ currentTarget }: { currentTarget: HTMLSelectElement }): void =>
    pick(currentTarget.value)
  const select = h('select', { value: service, onChange: onChange as never }, names)
  return h(
    'dialog',
    {
      ref: dialog,
      onClose: close,
      'aria-labelledby': 'helper',
      class: 'card m-auto w-[min(44rem,94vw)] p-6',
    },
    h(
      'header',
      { class: 'flex items-center' },
      h('h2', { id: 'helper' }, 'New forward'),
      button(close, '✕', 'button ml-auto', { 'aria-label': 'Close' }),
    ),
    h(
      'p',
      { class: 'mb-4' },
      small('This page changes nothing: it writes the rule, you put it into Proxmox VE.'),
    ),
    h(
      'div',
      { class: 'grid gap-3 sm:grid-cols-4' },
      field(
        'Guest',
        h('input', { ...box, onInput: ({ currentTarget }) => set({ guest: currentTarget.value }) }),
        known,
      ),
      field('Service', select),
      port('Port of the guest', 'inner'),
      port('Outside port', 'outer'),
    ),
    written(form.value, node.value),
  )
}

function written({ guest, service, inner, outer }: Form, node: PageNode | undefined): JSX.Element {
  const proto = SERVICES.find(([name]) => name === service)?.[1] ?? 'tcp'
  const isWrong = [inner, outer].some((port) => !Number.isInteger(port) || port < 1 || port > 65535)
  const holder = holderOf(proto, outer, node)
  const free = node ? 'is free' : 'is in no NAT rule; the service does not say what else uses it'
  const verdict = isWrong
    ? 'Ports go from 1 to 65535'
    : `${outer}/${proto} ${holder ? `belongs to ${holder}` : free}`
  const vmid = /^\d+/.exec(guest)?.[0] ?? 'VMID'
  const type = node?.guests.find((one) => String(one.vmid) === vmid)?.type ?? 'qemu'
  const comment = outer === inner ? 'NAT' : `NAT ${outer}`
  const path = `/nodes/${status.value?.node ?? 'NODE'}/${type}/${vmid}/firewall/rules`
  const rule = `--type in --action ACCEPT --enable 1 --proto ${proto} --dport ${inner} --comment '${comment}'`
  const fields = `Direction in, Action ACCEPT, Protocol ${proto}, Dest. port ${inner}, Enable ✓, Comment ${comment}`
  const pairs: [string, ComponentChildren][] = [
    ['Comment', copy(comment)],
    ['In the GUI', `Guest ${vmid} → Firewall → Add: ${fields}`],
    ['On the node', copy(`pvesh create ${path} ${rule}`)],
  ]
  const isFree = !isWrong && holder === undefined
  const style = `my-4 font-semibold text-(--tone) ${TONES[isFree ? 'working' : 'errors']}`
  const list = pairs.map(([term, text]) => [h('dt', null, term), h('dd', null, text)])
  return h('div', null, h('p', { role: 'status', class: style }, verdict), isFree && h('dl', null, list))
}
