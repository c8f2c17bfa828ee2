/** `check`: all diagnostics of the rules of this node, or of files as if they were in place. */
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { isError, type Diagnostic } from '../diagnostic.ts'
import { parseProtocols, parseServices } from '../fw/etc.ts'
import type { ReadContext } from '../fw/fw-file.ts'
import { readFw } from '../fw/read.ts'
import { isMarked } from '../nat/words.ts'
import { movedPorts } from '../nat/auto.ts'
import { readingProblems } from '../nat/reading.ts'
import { CLUSTER_FW, guestFw, hostFw } from '../nat/view.ts'
import type { Looked, Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { Unreadable } from '../node/tree.ts'
import { compile, type Outcome } from '../pipeline.ts'
import { locate } from '../show/diagnostics.ts'
import { lookedAtLine, summarizeRules, type RuleSummary } from '../show/verdict.ts'
import { showDiagnostics, toldOf, type Context, type Told } from './context.ts'

interface Checked extends Told {
  rules: RuleSummary
  /** Files that were judged by their text alone, and why. */
  notes: string[]
}

export async function checkCommand(context: Context): Promise<number> {
  const { io, json, paths, words } = context
  const checked = await (words.length > 0 ? checkFiles(context) : checkNode(paths))
  if (json)
    io.stdout(`${JSON.stringify(locate(checked.diagnostics, checked.sources, paths.pveDir), null, 1)}\n`)
  else showDiagnostics(checked, context, ['pvenat check --json', ...words].join(' '))
  for (const note of checked.notes) io.stderr(`pvenat: ${note}\n`)
  if (!json) io.stdout(`${lookedAtLine(checked.rules)}\n`)
  return checked.diagnostics.some(isError) ? 1 : 0
}

async function checkNode(paths: Paths): Promise<Checked> {
  return checkLook(await lookKnowing(paths), paths, () => true)
}

/** The findings of a look and the rules of the files that are asked for; what else `isNew` is told, too; `now` is the outcome without the edits. */
function checkLook(
  looked: Looked,
  { pveDir }: Paths,
  isAsked: (file: string) => boolean,
  isNew: (diagnostic: Diagnostic) => boolean = () => false,
  now?: Outcome,
): Checked {
  const outcome = compile(looked)
  const told = toldOf(looked, outcome)
  const moved = now ? movedPorts(now.translation.rules, outcome.translation.rules) : []
  const rules = outcome.translation.rules.filter(({ place }) => isAsked(place.file))
  const own = told.diagnostics.filter(({ place }) => isAsked(place.file))
  return {
    ...told,
    diagnostics: [...told.diagnostics.filter((one) => isAsked(one.place.file) || isNew(one)), ...moved],
    rules: summarizeRules({ rules }, locate(own, told.sources, pveDir)),
    notes: [],
  }
}

/**
 * Judges the files as if they stood in the pve directory, together; also says what they would do to the rules of other files.
 * Away from a node, and for a file that no node would read, it says all that the text alone tells.
 */
async function checkFiles({ words, paths }: Context): Promise<Checked> {
  const texts = new Map<string, string>()
  for (const path of words) texts.set(resolve(path), await readFile(path, 'latin1'))
  const looked = await lookKnowing(paths).catch((error: unknown) => {
    if (error instanceof Unreadable) return error.message
    throw error
  })
  const places = new Map([...texts.keys()].map((path) => [path, placeOf(path, looked, paths.node)]))
  const alone = [...places].filter(([, place]) => place.file === undefined)
  const placed = [...places].flatMap(([path, { file }]) =>
    file === undefined ? [] : [[file, path] as const],
  )
  const parts = await Promise.all(
    alone.map(async ([path, { why }]) => checkText(path, texts.get(path) ?? '', why ?? '', paths.pveDir)),
  )
  if (typeof looked !== 'string' && placed.length > 0)
    parts.push(checkPlaced(looked, paths, new Map(placed), texts))
  return {
    diagnostics: parts.flatMap(({ diagnostics }) => diagnostics),
    sources: new Map(parts.flatMap(({ sources }) => [...sources])),
    rules: parts.map(({ rules }) => rules).reduce(addSummaries),
    notes: parts.flatMap(({ notes }) => notes),
  }
}

function addSummaries(one: RuleSummary, other: RuleSummary): RuleSummary {
  return {
    asked: one.asked + other.asked,
    failing: one.failing + other.failing,
    dead: one.dead + other.dead,
    first: [...one.first, ...other.first],
  }
}

/** Where a file of this name stands below the pve directory, or why it stands nowhere. */
function placeOf(path: string, looked: Looked | string, node: string): { file?: string; why?: string } {
  if (typeof looked === 'string') return { why: looked }
  const name = basename(path)
  if (name === 'cluster.fw') return { file: CLUSTER_FW }
  if (name === 'host.fw') return { file: hostFw(node) }
  const vmid = Number(/^([1-9]\d{2,9})\.fw$/.exec(name)?.[1])
  if (looked.tree.guests.some((guest) => guest.vmid === vmid)) return { file: guestFw(vmid) }
  return {
    why: Number.isNaN(vmid)
      ? 'its name is not cluster.fw, host.fw or VMID.fw'
      : `there is no guest ${vmid} on this node`,
  }
}

/** `paths`: by the place below the pve directory, the file to be judged there. */
function checkPlaced(
  looked: Looked,
  paths: Paths,
  files: ReadonlyMap<string, string>,
  texts: ReadonlyMap<string, string>,
): Checked {
  const fw = new Map([
    ...looked.tree.fw,
    ...[...files].map(([file, path]) => [file, texts.get(path) ?? ''] as const),
  ])
  const outcome = compile(looked)
  const before = new Set(toldOf(looked, outcome).diagnostics.map(keyOf))
  const checked = checkLook(
    { ...looked, tree: { ...looked.tree, fw } },
    paths,
    (file) => files.has(file),
    (one) => !before.has(keyOf(one)),
    outcome,
  )
  const diagnostics = checked.diagnostics.map((one): Diagnostic => {
    const path = files.get(one.place.file)
    return path === undefined ? one : { ...one, place: { ...one.place, file: path } }
  })
  return { ...checked, diagnostics, sources: new Map([...checked.sources, ...texts]) }
}

function keyOf({ code, place, facts }: Diagnostic): string {
  return JSON.stringify([code, place, facts])
}

/** Reads a file as pve-firewall would and checks its comments; aliases, sets and groups come from the cluster.fw beside it. */
async function checkText(path: string, text: string, why: string, pveDir: string): Promise<Checked> {
  const names: ReadContext = {
    services: parseServices(await readFile('/etc/services', 'latin1')),
    protocols: parseProtocols(await readFile('/etc/protocols', 'latin1')),
  }
  const kind = ({ 'cluster.fw': 'cluster', 'host.fw': 'host' } as const)[basename(path)] ?? 'vm'
  const beside = await clusterBeside(path, pveDir)
  const context = kind === 'cluster' ? names : { ...names, cluster: readFw(beside, 'cluster', names) }
  const fw = readFw(text, kind, context)
  const diagnostics = readingProblems(fw, path, names.services)
  const groups = [...fw.groups.values()].flatMap((group) => group.rules)
  const asked = [...fw.rules, ...groups].filter(
    ({ comment, enable }) => enable === 1 && isMarked(comment),
  ).length
  const failing = new Set(diagnostics.filter(isError).map(({ place }) => place.span.line)).size
  return {
    diagnostics,
    sources: new Map([[path, text]]),
    rules: { asked, failing, dead: 0, first: [] },
    notes: [`${path} is judged by its text alone: ${why}`],
  }
}

async function clusterBeside(path: string, pveDir: string): Promise<string> {
  const beside = await readFile(join(dirname(path), 'cluster.fw'), 'latin1').catch(() => undefined)
  return beside ?? (await readFile(join(pveDir, 'firewall/cluster.fw'), 'latin1').catch(() => ''))
}
