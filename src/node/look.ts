/** One look at the node: all inputs of the pipeline, read once. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Diagnostic } from '../diagnostic.ts'
import type { Look, Tree } from '../read.ts'
import { recall, type SavedLedger } from '../remembered.ts'
import type { StoredUplink } from '../uplinks.ts'
import { NO_ANSWERS, type Answers } from './answers.ts'
import { run, TOO_LATE } from './exec.ts'
import { readFilters } from './filters.ts'
import { readLearnt } from './learnt.ts'
import { readListeners } from './listeners.ts'
import { readNetwork } from './network.ts'
import { readNodePorts } from './node-ports.ts'
import { RIGHTS_FILE } from './published.ts'
import { readPve } from './rounds.ts'
import { configOf, readConfig, readSettings } from './settings.ts'
import { readState, withoutRights } from './state.ts'
import { CLUSTER_CONF, treeOf, Unreadable, VMLIST, type PveFiles } from './tree.ts'

/** Where things are; every command takes these as options. */
export interface Paths {
  pveDir: string
  node: string
  config: string
  stateDir: string
  runDir: string
}

export interface Looked extends Look {
  /** Faults of the settings. */
  settingsDiagnostics: Diagnostic[]
  /** Text of the settings files, for carets. */
  settingsTexts: Map<string, string>
}

/** /etc/pve as it was read, by the reader or by this process. */
export interface PveLook {
  files: PveFiles
  tree: Tree
}

/** What stands in for files that make no sense now. */
interface Before {
  /** Texts of settings as an earlier look had them. */
  settings?: Tree['settings'] | undefined
  /** Rights that the service has in force. */
  ledger?: SavedLedger | undefined
  /** Uplinks as the last look of the service knew them: the disk may be full. */
  uplinks?: readonly StoredUplink[] | undefined
}

/**
 * A look at the rest of the node. Throws Unreadable, and CommandFailed when the kernel does not tell its addresses.
 */
export async function look(
  paths: Paths,
  { files: pve, tree }: PveLook,
  answers: Answers = NO_ANSWERS,
  before: Before = {},
): Promise<Looked> {
  const { files } = answers
  files.next()
  const clusterConf = join(paths.pveDir, CLUSTER_CONF)
  const { settings, diagnostics, texts } = await readSettings(
    [clusterConf, paths.config],
    before.settings,
    (file) => (file === clusterConf ? configOf(pve.get(CLUSTER_CONF)) : readConfig(file)),
  )
  const stored = await files.read(join(paths.stateDir, 'state.json'), () => readState(paths.stateDir))
  const known = stored.rights ? stored : { ...stored, ...before.ledger }
  const loaded = join(paths.runDir, RIGHTS_FILE)
  const state = known.rights ? known : withoutRights(known, await readFile(loaded, 'utf8').catch(() => ''))
  const now = Math.floor(Date.now() / 1000)
  const [learnt, network, listeners, services, protocols] = await Promise.all([
    readLearnt(pve, undefined, answers),
    readNetwork(settings, before.uplinks ?? state.uplinks, now, answers),
    readListeners(),
    files.read('/etc/services', () => readNames('/etc/services')),
    files.read('/etc/protocols', () => readNames('/etc/protocols')),
  ])
  const [seen, filters] = await Promise.all([
    readNodePorts(listeners, network, answers),
    readFilters(answers),
  ])
  return {
    node: paths.node,
    tree: { ...tree, settings: texts },
    network,
    learnt,
    listeners,
    ...recall(state, { tree, node: paths.node, now }, seen),
    ...(filters ? { filters } : {}),
    settings,
    hasBridgeNetfilter: existsSync('/proc/sys/net/bridge'),
    hasProxmoxFirewall: existsSync('/usr/libexec/proxmox/proxmox-firewall'),
    services,
    protocols,
    now,
    settingsDiagnostics: diagnostics,
    settingsTexts: texts,
  }
}

/** A whole look by a command. Throws Unreadable when /etc/pve does not answer within `patienceMs`. */
export async function lookOnce(paths: Paths, patienceMs = PATIENCE_MS): Promise<Looked> {
  const { pveDir, node } = paths
  // A process that waits for a mount that hangs cannot be ended, so a child process asks first.
  const { code } = await run('cat', [join(pveDir, VMLIST)], '', { timeoutMs: patienceMs })
  if (code === TOO_LATE) throw new Unreadable(`${pveDir} does not answer`)
  const files = await readPve(pveDir, node)
  return look(paths, { files, tree: treeOf(files, pveDir, node) })
}

const PATIENCE_MS = 2000

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
