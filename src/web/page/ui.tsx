/** Small parts that several views share. Text that people typed only ever becomes text. */
import { useSignal } from '@preact/signals'
import type { ComponentChildren as Children, JSX } from 'preact'
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

const BADGE =
  'inline-block rounded-full bg-[color-mix(in_srgb,var(--tone)_10%,var(--color-card))] px-2 text-[0.86em] font-semibold text-(--tone)'
export const badge = (tone: Group, text: string): JSX.Element => (
  <span class={`${BADGE} ${TONES[tone]}`}>{text}</span>
)

export const count = (n: number | string): JSX.Element => (
  <span class="rounded-full bg-line px-2 text-xs">{n}</span>
)

/** A button that looks like a link, unless `style` names another class. */
export const button = (text: Children, onClick: () => void, style = 'link', more = {}): JSX.Element => (
  <button class={style} onClick={onClick} {...more}>
    {text}
  </button>
)

/** A text that can be typed as it is, and a button that copies it. */
export function Copy({ text }: { text: string }): JSX.Element {
  const said = useSignal('Copy')
  const code = useRef<HTMLElement>(null)
  const copy = (): void => {
    // Browsers give plain HTTP of another name than localhost no navigator.clipboard; this works there too.
    getSelection()?.selectAllChildren(code.current as HTMLElement)
    said.value = document.execCommand('copy') ? 'Copied' : 'Press Ctrl+C'
    setTimeout(() => (said.value = 'Copy'), 2000)
  }
  return (
    <span>
      <code ref={code}>{text}</code>{' '}
      {button(said.value, copy, 'link', { 'aria-label': `${said.value}: ${text}` })}
    </span>
  )
}

/** The help, in which all that can be typed has a Copy. */
export function withCopies(help: string, [first, ...others]: readonly string[]): Children[] {
  if (first === undefined) return [help]
  const at = help.indexOf(first)
  const copy = <Copy key={first} text={first} />
  if (at < 0) return [...withCopies(help, others), ' ', copy]
  return [help.slice(0, at), copy, ...withCopies(help.slice(at + first.length), others)]
}

/** The GUI of the node, under the name by which this page was called; through a tunnel, under the node's own name. */
export function guiUrl(): string {
  const isTunnel = /^(localhost|127\.|\[::1\])/.test(location.hostname)
  return `https://${isTunnel ? (status.value?.node ?? '') : location.hostname}:8006/`
}
