/** Every command with what it takes and what is said about it: the command line, its help, the man page and the completions are made of this. */
import { runCommand } from '../service/run.ts'
import { ROW_STATES } from '../show/list.ts'
import { DEFAULT_TOP } from '../show/metrics.ts'
import { applyCommand } from './apply.ts'
import { checkCommand } from './check.ts'
import { compileCommand } from './compile.ts'
import { confirmCommand } from './confirm.ts'
import type { Context } from './context.ts'
import { doctorCommand } from './doctor.ts'
import { explainCommand } from './explain.ts'
import { importCommand } from './import.ts'
import { listCommand } from './list.ts'
import { metricsCommand } from './metrics.ts'
import { parseCommand } from './parse.ts'
import { planCommand } from './plan.ts'
import { restoreCommand } from './restore.ts'
import { rollbackCommand } from './rollback.ts'
import { statusCommand } from './status.ts'
import { DEFAULT_API, DEFAULT_LISTEN, webCommand } from './web.ts'

export interface Option {
  /** What its value is called, in capitals; a switch has none. */
  value?: string
  default?: string
  says: string
}

export interface Example {
  line: string
  says: string
}

export interface Command {
  run: (context: Context) => Promise<number>
  /** One line, no full stop. */
  says: string
  /** What it takes besides options, as in `[FILE…]`; nothing when undefined. The command counts them itself. */
  takes?: string
  /** Goes on until it is told to end, or waits for somebody. */
  isLong?: (values: Context['values']) => boolean
  /** For programs, or to be copied: its lines are never wrapped. */
  isVerbatim?: (values: Context['values']) => boolean
  /** Its own options, beside those for all. */
  options?: Record<string, Option>
  examples?: readonly Example[]
}

const VERBOSE = { verbose: { says: "the kernel's rules and sets, too" } }

export const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    run: runCommand,
    isVerbatim: () => true,
    isLong: () => true,
    says: 'the service: keep the kernel in sync with the rules until stopped',
  },
  apply: {
    run: applyCommand,
    isLong: ({ confirm }) => confirm !== undefined,
    says: 'one pass: put into force what the rules ask for',
    options: {
      confirm: { value: 'SECS', says: 'take it back unless pvenat confirm comes in time (1 to 3600)' },
      'hand-over': { says: 'free the ports that services of the node gave up in the last ten minutes' },
      ...VERBOSE,
    },
    examples: [
      { line: 'pvenat apply --confirm 60', says: 'a change that undoes itself if it locks you out' },
    ],
  },
  confirm: { run: confirmCommand, says: 'keep what apply --confirm has put into force' },
  plan: {
    run: planCommand,
    says: 'what apply would change; touches nothing (exit 3 when something would)',
    options: VERBOSE,
    examples: [{ line: 'pvenat plan', says: 'what would change' }],
  },
  compile: {
    run: compileCommand,
    isVerbatim: () => true,
    says: 'print the whole ruleset as ipset and iptables-restore text',
  },
  check: {
    run: checkCommand,
    says: 'what is wrong with the rules marked NAT, and what to type instead',
    takes: '[FILE…]',
    examples: [
      { line: 'pvenat check', says: 'what is wrong, with the line and the word' },
      { line: 'pvenat check 107.fw', says: 'before you copy it over' },
    ],
  },
  list: {
    run: listCommand,
    isLong: ({ watch }) => watch === true,
    says: 'every NAT rule: state, external, inner, guest, connections and the bytes of their first packets',
    options: {
      guest: { value: 'VMID|NAME', says: 'only of this guest' },
      port: { value: 'N', says: 'only with this external or inner port' },
      state: { value: 'STATE', says: `only ones that are ${ROW_STATES.join(', ')}` },
      blocks: { says: 'the block of external ports of every guest instead: which, used, free' },
      watch: { says: 'again every two seconds, until Ctrl-C' },
    },
    examples: [
      { line: 'pvenat list', says: 'what leads where' },
      { line: 'pvenat list --blocks', says: 'which ports belong to which guest, and which are free' },
      { line: 'pvenat list --guest 107 --watch', says: 'whether connections come in for a guest' },
    ],
  },
  explain: {
    run: explainCommand,
    says: 'what happens to such a packet, step by step, and why (exit 1 when it does not get through)',
    takes: 'PROTO SRC[:PORT] DST:PORT',
    examples: [
      { line: 'pvenat explain tcp 198.51.100.7 203.0.113.2:822', says: 'why a forward works, or does not' },
      { line: 'pvenat explain tcp 10.10.10.105 1.1.1.1:443', says: 'how a guest gets out' },
    ],
  },
  status: {
    run: statusCommand,
    says: 'OK, WARNING (rules that do not work) or CRITICAL (service down, not in sync, nothing in force) and why; exit 0, 1, 2',
    examples: [{ line: 'pvenat status', says: 'is all well' }],
  },
  doctor: {
    run: doctorCommand,
    says: 'what on this node keeps NAT from working, and the fix for each (exit 1 when something does)',
    examples: [{ line: 'pvenat doctor', says: 'each finding with a command that you can paste' }],
  },
  import: {
    run: importCommand,
    isVerbatim: ({ pvesh }) => pvesh === true,
    isLong: ({ confirm }) => confirm !== undefined,
    says: 'what hand-written NAT rules of this node become; changes nothing, but for --switch',
    options: {
      pvesh: { says: 'the commands that create the rules, switched off' },
      switch: { says: 'those rules on, the old ones out; with --confirm' },
      confirm: {
        value: 'SECS',
        says: 'back to the old ones unless pvenat confirm comes in time (1 to 3600)',
      },
    },
    examples: [
      { line: 'pvenat import', says: 'each rule, and what it becomes' },
      { line: 'pvenat import --pvesh', says: 'the commands for that' },
      { line: 'pvenat import --switch --confirm 60', says: 'move over, and back unless you confirm' },
    ],
  },
  parse: { run: parseCommand, isVerbatim: () => true, says: 'every file as pve-firewall reads it' },
  web: {
    run: webCommand,
    says: 'a page to look at, and /metrics, of what the service says',
    options: {
      listen: {
        value: 'WHERE',
        says: `unix:/PATH or ADDRESS:PORT; beyond loopback with TLS and a login (${DEFAULT_LISTEN})`,
      },
      host: { value: 'NAMES', says: 'more names that a proxy before the loopback asks by' },
      cert: { value: 'FILE', says: "certificate, instead of the GUI's" },
      key: { value: 'FILE', says: 'its key' },
      'pve-api': { value: 'URL', says: `where logins are checked (${DEFAULT_API})` },
    },
  },
  metrics: {
    run: metricsCommand,
    isVerbatim: () => true,
    says: 'figures in the form of Prometheus, of what the service says',
    options: {
      output: { value: 'FILE', says: 'write them there in one step' },
      top: { value: 'N', says: `rules with series of their own; the rest is one (${DEFAULT_TOP})` },
    },
  },
  restore: {
    run: restoreCommand,
    says: 'put back what was in force last, before /etc/pve is there; writes only what differs',
  },
  rollback: {
    run: rollbackCommand,
    says: 'stop the service and remove every trace',
    options: {
      'dry-run': { says: 'only tell' },
      'keep-unit': { says: 'stop the service, but do not disable it' },
    },
    examples: [{ line: 'pvenat rollback --dry-run', says: 'what it would remove' }],
  },
}

/** Options of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  'pve-dir': { value: 'DIR', default: '/etc/pve', says: 'the cluster file system' },
  node: { value: 'NAME', says: 'short name of this node' },
  config: { value: 'FILE', default: '/etc/pvenat/pvenat.conf', says: 'settings of this node' },
  'state-dir': { value: 'DIR', default: '/var/lib/pvenat', says: 'what must survive a restart' },
  'run-dir': { value: 'DIR', default: '/run/pvenat', says: 'what lives as long as the service' },
  json: { says: 'for programs' },
  'no-color': { says: 'never colour (also NO_COLOR)' },
  help: { says: 'this text; after a command, what it takes' },
  version: { says: 'the version' },
}
