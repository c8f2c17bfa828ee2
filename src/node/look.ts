/** One look at the node: everything that the pipeline starts from, read once. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Diagnostic } from '../diagnostic.ts'
import type { Look, Tree } from '../read.ts'
import { readLearnt } from './learnt.ts'
import { readListeners } from './listeners.ts'
import { readNetwork } from './network.ts'
import { readSettings } from './settings.ts'
import { readState, type State } from './state.ts'
import { FRESH, type Senses } from './senses.ts'
import { checkMounted, readTree, Unreadable } from './tree.ts'

/** Where things are; every command takes these as options. */
export interface Paths {
  pveDir: string
  node: string
  config: string
  stateDir: string
  runDir: string
}

export interface Looked extends Look {
  /** What is wrong in the settings. */
  settingsDiagnostics: Diagnostic[]
  /** Text of the settings files, for carets. */
  settingsTexts: Map<string, string>
}

/**
 * `before` is the tree of an earlier look: what it says stands for a file that can no longer be read and concerns one guest, or
 * the settings, alone. `senses` spare what cannot have changed since. Throws Unreadable when /etc/pve cannot be believed, CommandFailed when the kernel does not tell its addresses.
 */
export async function look(paths: Paths, before?: Tree, senses: Senses = FRESH): Promise<Looked> {
  const { files } = senses
  files.next()
  // First, so that a dead mount is not told as bad settings.
  await checkMounted(paths.pveDir, paths.node)
  const { settings, diagnostics, texts } = await readSettings(
    [join(paths.pveDir, 'pvenat.conf'), paths.config],
    before?.settings,
  )
  const [learnt, network, listeners, state, services, protocols] = await Promise.all([
    readLearnt(paths.pveDir, undefined, senses),
    readNetwork(settings, senses),
    readListeners(),
    files.read(join(paths.stateDir, 'state.json'), () => readState(paths.stateDir)),
    files.read('/etc/services', () => readNames('/etc/services')),
    files.read('/etc/protocols', () => readNames('/etc/protocols')),
  ])
  // Last: that it can be read vouches for what was read below the same mount before.
  const tree = { ...(await readTree(paths.pveDir, paths.node, before, files)), settings: texts }
  const now = Math.floor(Date.now() / 1000)
  return {
    node: paths.node,
    tree,
    network,
    learnt,
    listeners,
    incumbents: incumbentsOf(state),
    settings,
    hasProxmoxFirewall: existsSync('/usr/libexec/proxmox/proxmox-firewall'),
    services,
    protocols,
    now,
    settingsDiagnostics: diagnostics,
    settingsTexts: texts,
  }
}

const incumbents = new WeakMap<State, ReadonlySet<string>>()

/** The same set for the same state. */
function incumbentsOf(state: State): ReadonlySet<string> {
  const lines = incumbents.get(state) ?? new Set(state.incumbents)
  incumbents.set(state, lines)
  return lines
}

/** Without these names every rule with a protocol would look wrong. */
async function readNames(file: string): Promise<string> {
  const text = await readFile(file, 'latin1').catch(({ code }: NodeJS.ErrnoException) => {
    if (code === 'ENOENT') return ''
    throw new Unreadable(`cannot read ${file}: ${code}`)
  })
  if (text === '') throw new Unreadable(`${file} is missing; install it with: apt install netbase`)
  return text
}

/** Every file that a diagnostic of this look can point into. */
export function sourcesOf({ tree, settingsTexts }: Looked): ReadonlyMap<string, string> {
  return new Map([...tree.fw, ...settingsTexts])
}
