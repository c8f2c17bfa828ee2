/** The demo as a picture that moves: what it printed, one step after the other, as SVG without a script. */

const COLUMNS = 128
const [LINE, CHAR, MARGIN] = [18, 8.4, 16]
/** For how long a step is to be seen. */
const [SECONDS, SECONDS_A_LINE] = [2, 0.35]

/** The text without durations, folders, the clock and counts, which differ each time. */
export function withoutChance(text: string): string {
  return (
    text
      .replace(/\/tmp\/[\w.-]+/g, '/etc/pve')
      .replace(/\b\d+ ms\b/g, 'N ms')
      // How often a port was tried until it answered.
      .replace(/(?<=\.fw:\d+)( +\d+)( +[\d.]+[kM]?)(?= {2}NAT)/g, (_, connections: string, bytes: string) =>
        [connections, bytes].map((count) => 'N'.padStart(count.length)).join(''),
      )
      .replace(/ +$/gm, '')
  )
}

/** `text`: what the demo prints. The picture is as high as its longest step. */
export function recordingOf(text: string): string {
  const [title = '', ...steps] = withoutChance(text)
    .trim()
    .split(/\n\n(?=\d+\. |demo: )/)
  const frames = steps.map((step) => step.split('\n').map((line) => clip(line)))
  const seconds = frames.map((lines) => SECONDS + SECONDS_A_LINE * lines.length)
  const total = seconds.reduce((sum, one) => sum + one, 0)
  const height = 2 * MARGIN + LINE * (2 + Math.max(...frames.map((lines) => lines.length)))
  const width = Math.ceil(2 * MARGIN + CHAR * COLUMNS)
  let start = 0
  const rules: string[] = []
  const groups = frames.map((lines, i) => {
    const [from, to] = [start / total, (start + (seconds[i] ?? 0)) / total].map((part) =>
      (100 * part).toFixed(2),
    )
    start += seconds[i] ?? 0
    rules.push(`@keyframes s${i}{0%{opacity:0}${from}%{opacity:1}${to}%{opacity:0}100%{opacity:0}}`)
    rules.push(`#s${i}{animation:s${i} ${total.toFixed(1)}s infinite step-end}`)
    return `<g id="s${i}">${lines.map((line, at) => textLine(line, at + 2)).join('')}</g>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="the demo of pvenat">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#c9d1d9;white-space:pre}
.step{fill:#ffffff;font-weight:bold}.good{fill:#7ee787}.bad{fill:#ffa198}.quote{fill:#79c0ff}
g{opacity:0}@media (prefers-reduced-motion:reduce){g{animation:none!important}#s${frames.length - 1}{opacity:1}}
${rules.join('\n')}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${textLine(`# sh install/demo.sh    (${title})`, 0)}
${groups.join('\n')}
</svg>
`
}

function clip(line: string): string {
  return line.length > COLUMNS ? `${line.slice(0, COLUMNS - 1)}…` : line
}

function textLine(line: string, at: number): string {
  const kind = KINDS.find(([, pattern]) => pattern.test(line))?.[0]
  const escaped = line.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)
  return `<text x="${MARGIN}" y="${MARGIN + LINE * (at + 1) - 4}"${kind === undefined ? '' : ` class="${kind}"`}>${escaped}</text>`
}

const KINDS: readonly [string, RegExp][] = [
  ['step', /^\d+\. |^demo: /],
  ['bad', /error\[/],
  ['good', /answered by|^ {3}seen: /],
  ['quote', /^ {3}\| /],
]
