/** `list`: every NAT rule with its state and counters. */
import { UsageError } from '../io.ts'
import { setTimeout as delay } from 'node:timers/promises'
import type { Looked, Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { Unreadable } from '../node/tree.ts'
import { isServiceRunning } from '../node/unit.ts'
import type { Diagnostic } from '../diagnostic.ts'
import { compile } from '../pipeline.ts'
import { kernelFacts } from '../ruleset/installed.ts'
import { readFolder } from '../node/published.ts'
import { blockRows, renderBlocks, renderBlocksJson } from '../show/blocks.ts'
import { installedRows, renderListJson, ROW_STATES, type Row, type RowState } from '../show/list.ts'
import { NOT_RUNNING } from '../show/silence.ts'
import { renderMisses, renderTable } from '../show/table.ts'
import { kernelOf, SOON_MS, type Context } from './context.ts'

const WATCH_MS = 2000
/** What every terminal has. What goes to a program is not cut. */
const LEAST_COLUMNS = 80
/** Of a terminal: that the service does not run, header, count of other rows, near misses and a blank, the cursor's line. */
const OTHER_LINES = 7
const CLEAR = '\u001b[H\u001b[2J\u001b[3J'

export async function listCommand(context: Context): Promise<number> {
  const isWanted = readFilters(context)
  const { io, json, values } = context
  const read = async (): Promise<string> => {
    if (values.blocks === true) {
      const rows = blockRows(compile(await lookKnowing(context.paths)))
      return json ? renderBlocksJson(rows) : renderBlocks(rows)
    }
    const { rows, diagnostics } = await readRows(context)
    return (await stoppedLine(context)) + render(rows.filter(isWanted), diagnostics, context)
  }
  if (values.watch !== true) {
    io.stdout(await read())
    return 0
  }
  for (;;) {
    const start = performance.now()
    const text = await read()
    io.stdout(io.size?.() ? CLEAR + text : `${text}\n`)
    await delay(Math.max(WATCH_MS, performance.now() - start))
  }
}

/** The rules, and the diagnostics of files that can be read. */
interface Read {
  rows: Row[]
  diagnostics: readonly Diagnostic[]
}

async function readRows(context: Context): Promise<Read> {
  const { io, paths } = context
  const looked = await lookSoon(paths).catch((error: unknown) => {
    if (error instanceof Unreadable) return error
    throw error
  })
  if (looked instanceof Unreadable) {
    const { rows, counters } = await readFolder(paths.runDir)
    if (!rows) throw looked
    io.stderr(`pvenat: ${looked.message}; these are the rules as the service read them last\n`)
    const counted = rows.map((row): Row => {
      const [packets, bytes] = counters?.rules.get(row.id) ?? [row.packets, row.bytes]
      return { ...row, packets, bytes }
    })
    return { rows: counted, diagnostics: [] }
  }
  const installed = await (await kernelOf(looked, context)).read()
  const outcome = compile({ ...looked, kernel: kernelFacts(installed) })
  const { diagnostics } = outcome.translation
  return { rows: installedRows(outcome, installed, paths.pveDir), diagnostics }
}

/** A look, unless the service has found that it would take long. */
async function lookSoon(paths: Paths): Promise<Looked> {
  const { status: published } = await readFolder(paths.runDir)
  if (published && (await isServiceRunning(paths.runDir)) && !published.inStep && published.degraded !== null)
    throw new Unreadable(published.degraded.replace(/; the installed rules stay$/, ''))
  return lookKnowing(paths, SOON_MS)
}

/** First of all: that nobody follows changes. */
async function stoppedLine({ json, paths }: Context): Promise<string> {
  return json || (await isServiceRunning(paths.runDir)) ? '' : `${NOT_RUNNING}\n\n`
}

function render(
  rows: readonly Row[],
  diagnostics: readonly Diagnostic[],
  { io, json, values, colour }: Context,
): string {
  if (json) return renderListJson(rows)
  const isFiltered = ['guest', 'port', 'state'].some((name) => values[name] !== undefined)
  const size = io.size?.()
  const columns = Math.max(LEAST_COLUMNS, size?.columns || Number(process.env.COLUMNS) || Infinity)
  const misses = isFiltered ? '' : renderMisses(diagnostics, columns)
  if (rows.length === 0)
    return (isFiltered ? 'no such NAT rule\n' : 'no firewall rule begins its comment with NAT\n') + misses
  const maxRows = values.watch === true && size ? Math.max(1, size.rows - OTHER_LINES) : Infinity
  return renderTable(rows, columns, { maxRows, isColoured: colour }) + (misses && `\n${misses}`)
}

/** Whether a row is one that was asked for. */
function readFilters({ values: { guest, port, state } }: Context): (row: Row) => boolean {
  const wantedPort = port === undefined ? undefined : Number(port)
  if (wantedPort !== undefined && !(Number.isInteger(wantedPort) && wantedPort >= 1 && wantedPort <= 65535))
    throw new UsageError('--port takes a port from 1 to 65535')
  if (state !== undefined && !ROW_STATES.includes(state as RowState))
    throw new UsageError(`--state takes one of ${ROW_STATES.join(', ')}`)
  return (row) =>
    (guest === undefined || String(row.guest?.vmid) === guest || row.guest?.name === guest) &&
    (wantedPort === undefined || hasPort(row, wantedPort)) &&
    (state === undefined || row.state === state)
}

/** Whether it is one of the external or inner ports. A forward without ports has them all, a rule that is not understood none. */
function hasPort({ kind, external, inner }: Row, port: number): boolean {
  const ranges = [...(external.ports ?? []), ...(inner.ports ?? [])]
  if (ranges.length === 0) return kind === 'forward' && inner.address !== null
  return ranges.some(([lo, hi]) => lo <= port && port <= hi)
}
