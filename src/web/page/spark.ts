/** New connections of the last hour as bars, small in a row and larger beside a chosen rule. */
import { MINUTES } from '../history.ts'
import { s } from './dom.ts'

/** One path for all bars, 60 by `height` units; the tallest fills it. */
export function sparkPath(counts: readonly number[], height: number): string {
  const most = Math.max(1, ...counts)
  return counts
    .map((count, i) =>
      count === 0 ? '' : `M${i + 0.5} ${height}V${Math.round((1 - count / most) * height * 10) / 10}`,
    )
    .join('')
}

/** With a scale and words, for one rule. */
export function largeGraph(counts: readonly number[], sinceMs: number | null): SVGSVGElement {
  const most = Math.max(0, ...counts)
  const sum = counts.reduce((all, count) => all + count, 0)
  const watched = sinceMs === null ? 0 : Math.min(MINUTES, Math.ceil((Date.now() - sinceMs) / 60_000))
  const label = `New connections by the minute in the last hour: ${sum} in all, ${most} at most`
  return s(
    'svg',
    { viewBox: '0 0 300 96', class: 'graph', role: 'img', 'aria-label': label },
    s('path', { d: 'M0 70.5H300M0 38.5H300M0 6.5H300', class: 'grid' }),
    watched < MINUTES &&
      s('rect', { x: 0, y: 6, width: (MINUTES - watched) * 5, height: 64, class: 'unknown' }),
    s('path', { d: sparkPath(counts, 64), class: 'bars', transform: 'translate(0 6.5) scale(5 1)' }),
    s('text', { x: 0, y: 86 }, 'an hour ago'),
    s('text', { x: 300, y: 86, 'text-anchor': 'end' }, 'now'),
    s('text', { x: 0, y: 17, class: 'most' }, most > 0 ? `${most} a minute` : ''),
  )
}
