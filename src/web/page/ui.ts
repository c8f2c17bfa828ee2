/** Small parts that several views share. Views are made by `h` of preact; what people typed only ever becomes text. */
import { useSignal } from '@preact/signals'
import { h, type ComponentChildren, type JSX } from 'preact'
import { useRef } from 'preact/hooks'
import type { Group } from './model.ts'
import { status } from './store.ts'

/** Sets the colour that the utilities of `--tone` take. */
export const TONES: Readonly<Record<Group, string>> = {
  errors: '[--tone:var(--color-bad)]',
  working: '[--tone:var(--color-good)]',
  pending: '[--tone:var(--color-wait)]',
  off: '[--tone:var(--color-dim)]',
}

export const badge = (tone: Group, text: string): JSX.Element =>
  h('span', { class: `badge ${TONES[tone]}` }, text)
export const count = (n: number | string): JSX.Element =>
  h('span', { class: 'rounded-full bg-line px-2 text-xs' }, n)
export const small = (...children: ComponentChildren[]): JSX.Element => h('small', null, children)

/** A button that looks like a link, unless `style` names another class. */
export function button(
  onClick: () => void,
  text: ComponentChildren,
  style = 'link',
  more: object = {},
): JSX.Element {
  return h('button', { class: style, onClick, ...more }, text)
}

/** A text that can be typed as it is, and a button that copies it. */
function Copy({ text }: { text: string }): JSX.Element {
  const said = useSignal('Copy')
  const code = useRef<HTMLElement>(null)
  const copy = async (): Promise<void> => {
    const isCopied = await (navigator.clipboard as Clipboard | undefined)?.writeText(text).then(
      () => true,
      () => false,
    )
    // Browsers give plain HTTP of another name than localhost no clipboard: then the text is selected.
    if (!isCopied && code.current) getSelection()?.selectAllChildren(code.current)
    said.value = isCopied ? 'Copied' : 'Press Ctrl+C'
    setTimeout(() => (said.value = 'Copy'), 2000)
  }
  const label = { 'aria-label': `${said.value}: ${text}` }
  return h(
    'span',
    null,
    h('code', { ref: code }, text),
    ' ',
    button(() => void copy(), said.value, 'link text-sm', label),
  )
}

export const copy = (text: string): JSX.Element => h(Copy, { text })

/** The GUI of the node, under the name by which this page was called; through a tunnel, under the node's own name. */
export function guiUrl(): string {
  const isTunnel = /^(localhost|127\.|\[::1\])/.test(location.hostname)
  return `https://${isTunnel ? (status.value?.node ?? '') : location.hostname}:8006/`
}
