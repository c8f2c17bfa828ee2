/** Draws the picture, and lets its lines be followed by pointer and keyboard. */
import { s } from './dom.ts'
import { layOut, type Box, type Layout, type Placed } from './layout.ts'
import { short } from './model.ts'
import { makeScene, type Line, type Scene, type SceneInput } from './scene.ts'

interface PictureInput extends SceneInput {
  node: string
  width: number
}

interface Picture {
  /** Draws, and tells how much there was no room for. */
  draw: (input: PictureInput) => Scene['hidden']
}

interface Calls {
  /** A rule was chosen. */
  choose: (id: string) => void
  /** All rules of a target are wanted, or no longer. */
  expand: (target: string) => void
}

/** A sign of the state, beside its colour: a path around 0 0, and the text for who does not see it. */
const SIGNS: Record<Line['state'], string> = {
  active: '',
  partial: 'M0 -4.5V1M0 3.6V4.4',
  pending: '',
  inactive: 'M-3.5 -4V4M3.5 -4V4',
  error: 'M-4 -4L4 4M4 -4L-4 4',
  quarantined: 'M-4 -4L4 4M4 -4L-4 4',
  conflict: 'M0 -4.5V1M0 3.6V4.4',
}

export function makePicture(root: HTMLElement, { choose, expand }: Calls): Picture {
  let drawn = ''
  const lineOf = (target: EventTarget | null): SVGGElement | null =>
    target instanceof Element ? target.closest<SVGGElement>('.line') : null
  const act = (element: Element): void => {
    const { id, target } = (element as SVGGElement).dataset
    if (id !== undefined) choose(id)
    else if (target !== undefined) expand(target)
  }
  root.addEventListener('click', (event) => {
    const element = event.target instanceof Element ? event.target.closest('[data-id], [data-target]') : null
    if (element) act(element)
  })
  root.addEventListener('keydown', (event) => {
    const line = lineOf(event.target)
    if (!line) return
    const all = [...root.querySelectorAll<SVGGElement>('.line')]
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key]
    if (step !== undefined) all[(all.indexOf(line) + step + all.length) % all.length]?.focus()
    else if (event.key === 'Enter' || event.key === ' ') act(line)
    else return
    event.preventDefault()
  })
  root.addEventListener('focusin', (event) => {
    const line = lineOf(event.target)
    for (const one of root.querySelectorAll('.line')) one.setAttribute('tabindex', one === line ? '0' : '-1')
  })
  const draw = (input: PictureInput): Scene['hidden'] => {
    const scene = makeScene(input)
    const layout = layOut(scene, input.width)
    const key = signature(layout, input)
    if (key === drawn) return scene.hidden
    drawn = key
    const focused = lineOf(document.activeElement)?.dataset['key']
    root.replaceChildren(toSvg(layout, scene, input))
    if (focused !== undefined) root.querySelector<SVGGElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus()
    return scene.hidden
  }
  return { draw }
}

/** What the picture depends on; an equal one need not be drawn again. */
function signature(
  { width, lines, targets }: Layout,
  { selected, hour, internal, external, node }: PictureInput,
): string {
  const each = lines.map(({ line, path }) => [line.id, line.state, line.label, path, weight(line, hour)])
  return JSON.stringify([width, each, targets, selected, internal, external, node])
}

function toSvg(layout: Layout, scene: Scene, input: PictureInput): SVGSVGElement {
  const { width, height, node, internet } = layout
  const titles = new Map([...scene.addresses, ...scene.bridges].map((one) => [one.key, one]))
  const named =
    (kind: string) =>
    (box: Box): SVGGElement =>
      boxOf(box, kind, titles.get(box.key)?.title ?? box.key, titles.get(box.key)?.note ?? '')
  const chars = Math.floor(((layout.targets[0]?.w ?? 200) - 16) / 6.6)
  return s(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': summary(scene) },
    s('rect', { ...rect(node), rx: 14, class: 'node' }),
    s('g', { role: 'listbox', 'aria-label': 'Ways through the node' }, ...drawLines(layout, input, chars)),
    s(
      'g',
      { 'aria-hidden': 'true' },
      s('text', { x: node.x + 14, y: node.y + 21, class: 'node-name' }, input.node),
      boxOf(internet, 'internet', 'internet', ''),
      ...layout.addresses.map(named('address')),
      ...layout.bridges.map(named('bridge')),
    ),
    ...layout.targets.map((box, i) => {
      const target = scene.targets[i]
      return target ? targetHead(box, target, input.expanded === target.key) : s('g')
    }),
  )
}

function drawLines(layout: Layout, input: PictureInput, chars: number): SVGGElement[] {
  const isChosen = ({ line }: Placed): boolean =>
    input.selected !== undefined && line.items.length === 1 && line.id === input.selected
  // Whoever comes later is drawn above: the chosen one last, but in the order of the list for the keyboard.
  const first = layout.lines.findIndex(isChosen)
  return layout.lines.map((placed, i) =>
    drawLine(placed, layout, input, { chars, isChosen: isChosen(placed), isStop: i === Math.max(0, first) }),
  )
}

function drawLine(
  { line, path, gate, end }: Placed,
  layout: Layout,
  { hour }: PictureInput,
  { chars, isChosen, isStop }: { chars: number; isChosen: boolean; isStop: boolean },
): SVGGElement {
  const single = line.items.length === 1 ? line.items[0] : undefined
  const box = layout.targets.find(({ key }) => key === line.target)
  const sign = SIGNS[line.state]
  const arrow =
    line.way === 'in'
      ? `M${end.x - 7} ${end.y - 4.5}l7 4.5l-7 4.5z`
      : `M${end.x} ${end.y - 4.5}l-7 4.5l7 4.5z`
  const count = line.items.reduce((sum, { id }) => sum + hour(id), 0)
  return s(
    'g',
    {
      class: `line ${line.state} ${line.way}${isChosen ? ' chosen' : ''}`,
      role: 'option',
      tabindex: isStop ? 0 : -1,
      'aria-selected': String(isChosen),
      'data-key': line.id,
      ...(single ? { 'data-id': single.id } : { 'data-target': line.target }),
    },
    s('title', {}, spoken(line, count)),
    s('path', { d: path, class: 'reach' }),
    s('path', { d: path, class: 'way', 'stroke-width': weight(line, hour) * (layout.isNarrow ? 0.6 : 1) }),
    s('path', { d: arrow, class: 'arrow' }),
    sign !== '' && s('circle', { cx: gate.x, cy: gate.y, r: 9, class: 'sign-back' }),
    sign !== '' && s('path', { d: sign, class: 'sign', transform: `translate(${gate.x} ${gate.y})` }),
    s('rect', { x: end.x, y: end.y - 10, width: box?.w ?? 0, height: 20, class: 'strip' }),
    s('text', { x: end.x + 12, y: end.y + 4, class: 'label' }, cut(line.label, chars - 8)),
    count > 0 &&
      s(
        'text',
        { x: end.x + (box?.w ?? 0) - 10, y: end.y + 4, class: 'count', 'text-anchor': 'end' },
        short(count),
      ),
  )
}

function spoken({ items, label, state }: Line, count: number): string {
  const one = items.length === 1 ? items[0] : undefined
  const what = one ? `${one.outside} to ${[one.guest, one.inside].filter(Boolean).join(', ')}` : label
  return `${what}: ${state}, ${count} new connections in the last hour`
}

/** Thicker by the number of digits, as it were: one busy line must not drown the others. */
function weight({ items }: Line, hour: (id: string) => number): number {
  const sum = items.reduce((all, { id }) => all + hour(id), 0)
  return Math.round(Math.min(6, 1.5 + Math.log10(1 + sum)) * 4) / 4
}

function targetHead(
  { x, y, w, h }: Box,
  { key, title, count, lines }: { key: string; title: string; count: number; lines: Line[] },
  isExpanded: boolean,
): SVGGElement {
  const more = isExpanded ? '−' : lines.length < count ? '+' : ''
  return s(
    'g',
    {
      class: `target${more === '' ? '' : ' foldable'}`,
      'aria-hidden': 'true',
      'data-target': more === '' ? undefined : key,
    },
    s('rect', { x, y, width: w, height: h, rx: 8, class: 'frame' }),
    s('rect', { x, y, width: w, height: 26, fill: 'transparent', class: 'head' }),
    s('text', { x: x + 12, y: y + 19, class: 'title' }, cut(title, Math.floor((w - 50) / 7.4))),
    s(
      'text',
      { x: x + w - 12, y: y + 19, class: 'count', 'text-anchor': 'end' },
      more === '' ? '' : `${count} ${more}`,
    ),
    s('title', {}, title),
  )
}

function boxOf(box: Box, kind: string, title: string, note: string): SVGGElement {
  const mid = box.y + box.h / 2
  const chars = Math.floor((box.w - 12) / 7.2)
  return s(
    'g',
    { class: `box ${kind}` },
    s('rect', { ...rect(box), rx: kind === 'internet' ? 17 : 8 }),
    s(
      'text',
      { x: box.x + box.w / 2, y: mid + (note === '' ? 4 : -2), 'text-anchor': 'middle', class: 'title' },
      cut(title, chars),
    ),
    note !== '' &&
      s(
        'text',
        { x: box.x + box.w / 2, y: mid + 13, 'text-anchor': 'middle', class: 'note' },
        cut(note, chars + 2),
      ),
    s('title', {}, `${title} ${note}`),
  )
}

const rect = ({ x, y, w, h }: Box): Record<string, number> => ({ x, y, width: w, height: h })

function cut(text: string, chars: number): string {
  const all = [...text]
  return all.length <= chars ? text : `${all.slice(0, Math.max(1, chars - 1)).join('')}…`
}

function summary({ targets, hidden }: Scene): string {
  const count = targets.reduce((sum, target) => sum + target.count, 0) + hidden.rules
  return `The way of ${count} rules from the internet through this node to ${targets.length + hidden.targets} targets`
}
