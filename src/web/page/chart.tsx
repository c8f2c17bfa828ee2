/** New connections by the minute as bars, with the value under the pointer. */
import { useSignal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import Plot from 'uplot'

const clock = (seconds = 0): string => new Date(seconds * 1000).toTimeString().slice(0, 5)

/** `minutes`: connections in each, the present one last; null before counting began. */
export function Chart({ minutes }: { minutes: readonly (number | null)[] }): JSX.Element {
  const root = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot>(undefined)
  const under = useSignal('')
  useEffect(() => {
    const element = root.current as HTMLDivElement
    // A canvas takes no colours from classes: these three are read.
    const { color, caretColor, outlineColor } = getComputedStyle(element)
    const axis = { stroke: caretColor, grid: { stroke: outlineColor, width: 1 }, ticks: { show: false } }
    const paths = Plot.paths.bars?.({ size: [0.8] }) as Plot.Series.PathBuilder
    const show = ({ cursor: { idx }, data: [times, counts] }: Plot): void => {
      under.value = idx == null ? '' : `${clock(times[idx])}: ${counts?.[idx] ?? 'not counted'}`
    }
    const options: Plot.Options = {
      width: element.clientWidth,
      height: 110,
      padding: [8, 20, 0, 0],
      legend: { show: false },
      hooks: { setCursor: [show] },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { range: (_, a, b) => [a - 30, b + 30] },
        y: { range: (_, __, n) => [0, Math.max(4, n)] },
      },
      series: [{}, { paths, fill: color, points: { show: false } }],
      axes: [
        { ...axis, size: 28, values: (_, times) => times.map((time) => clock(time)) },
        { ...axis, size: 36, space: 30 },
      ],
    }
    plot.current = new Plot(options, [[], []], element)
    return () => plot.current?.destroy()
  }, [])
  useEffect(() => {
    const now = Math.floor(Date.now() / 60_000) * 60
    plot.current?.setData([minutes.map((_, i) => now - (minutes.length - 1 - i) * 60), [...minutes]])
  }, [minutes])
  const most = Math.max(0, ...minutes.flatMap((n) => n ?? []))
  const label = `New connections by the minute, ${most} at most`
  return (
    <figure>
      <div ref={root} class="text-brand caret-dim outline-line" role="img" aria-label={label} />
      <small>{under.value || `at most ${most} in a minute`}</small>
    </figure>
  )
}
