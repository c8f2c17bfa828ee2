/** `check`: everything there is to say about the rules of this node, or about single files before they are copied over. */
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Diagnostic } from '../diagnostic.ts'
import { parseProtocols, parseServices } from '../fw/etc.ts'
import type { ReadContext } from '../fw/model.ts'
import { readFw } from '../fw/read.ts'
import { readingProblems } from '../nat/translate.ts'
import { sourcesOf } from '../node/look.ts'
import { lookKnowing } from '../node/recall.ts'
import { compile } from '../pipeline.ts'
import { locate, type Sources } from '../show/diagnostics.ts'
import { showDiagnostics, type Context } from './context.ts'

export async function checkCommand(context: Context): Promise<number> {
  const { diagnostics, sources } = await (context.words.length > 0 ? checkFiles(context) : checkNode(context))
  const all = ['pvenat check --json', ...context.words].join(' ')
  if (!context.json) return showDiagnostics(diagnostics, sources, context, all) ? 1 : 0
  const located = locate(diagnostics, sources, context.paths.pveDir)
  context.io.stdout(`${JSON.stringify(located, null, 1)}\n`)
  return located.some(({ severity }) => severity === 'error') ? 1 : 0
}

interface Checked {
  diagnostics: Diagnostic[]
  sources: Sources
}

async function checkNode(context: Context): Promise<Checked> {
  const looked = await lookKnowing(context.paths)
  const { translation } = compile(looked)
  return {
    diagnostics: [...looked.settingsDiagnostics, ...translation.diagnostics],
    sources: sourcesOf(looked),
  }
}

/**
 * Reads the files as pve-firewall would and checks the comments: all that can be known away from a node. Aliases, sets
 * and groups come from the cluster.fw beside the file or in the pve directory.
 */
async function checkFiles({ words, paths }: Context): Promise<Checked> {
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
    const kind = basename(path) === 'cluster.fw' ? 'cluster' : basename(path) === 'host.fw' ? 'host' : 'vm'
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
