/** `check`: everything there is to say about the rules of this node, or about single files before they are copied over. */
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { isError, type Diagnostic } from '../diagnostic.ts'
import { parseProtocols, parseServices } from '../fw/etc.ts'
import type { ReadContext } from '../fw/model.ts'
import { readFw } from '../fw/read.ts'
import { readingProblems } from '../nat/translate.ts'
import type { Paths } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { compile } from '../pipeline.ts'
import { locate } from '../show/diagnostics.ts'
import { showDiagnostics, toldOf, type Context, type Told } from './context.ts'

export async function checkCommand(context: Context): Promise<number> {
  const { io, json, paths, words } = context
  const told = await (words.length > 0 ? checkFiles(context) : checkNode(paths))
  if (!json) return showDiagnostics(told, context, ['pvenat check --json', ...words].join(' ')) ? 1 : 0
  io.stdout(`${JSON.stringify(locate(told.diagnostics, told.sources, paths.pveDir), null, 1)}\n`)
  return told.diagnostics.some(isError) ? 1 : 0
}

async function checkNode(paths: Paths): Promise<Told> {
  const looked = await lookKnowing(paths)
  return toldOf(looked, compile(looked))
}

/**
 * Reads the files as pve-firewall would and checks the comments: all that can be known away from a node. Aliases, sets
 * and groups come from the cluster.fw beside the file or in the pve directory.
 */
async function checkFiles({ words, paths }: Context): Promise<Told> {
  const names: ReadContext = {
    services: parseServices(await readFile('/etc/services', 'latin1')),
    protocols: parseProtocols(await readFile('/etc/protocols', 'latin1')),
  }
  const sources = new Map<string, string>()
  const diagnostics: Diagnostic[] = []
  for (const path of words) {
    const file = resolve(path)
    const text = await readFile(path, 'latin1')
    sources.set(file, text)
    const kind = ({ 'cluster.fw': 'cluster', 'host.fw': 'host' } as const)[basename(path)] ?? 'vm'
    const beside = await clusterBeside(path, paths.pveDir)
    const context = kind === 'cluster' ? names : { ...names, cluster: readFw(beside, 'cluster', names) }
    for (const one of readingProblems(readFw(text, kind, context), file)) diagnostics.push(one)
  }
  return { diagnostics, sources }
}

async function clusterBeside(path: string, pveDir: string): Promise<string> {
  const beside = await readFile(join(dirname(path), 'cluster.fw'), 'latin1').catch(() => undefined)
  return beside ?? (await readFile(join(pveDir, 'firewall/cluster.fw'), 'latin1').catch(() => ''))
}
