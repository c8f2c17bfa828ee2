/** The command line: argv → exit code. The world comes in as `Io`, so that tests and the bin share this. */
import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { applyCommand, planCommand } from './commands/apply.ts'
import { checkCommand } from './commands/check.ts'
import { confirmCommand } from './commands/confirm.ts'
import { compileCommand } from './commands/compile.ts'
import type { Context, Io } from './commands/context.ts'
import { listCommand } from './commands/list.ts'
import { parseCommand } from './commands/parse.ts'
import { rollbackCommand } from './commands/rollback.ts'
import { explainFailure } from './commands/failure.ts'
import { runCommand } from './service/run.ts'
import { VERSION } from './version.ts'

interface Command {
  run: (context: Context) => Promise<number>
  says: string
  /** Takes names of files. */
  files?: true
}

const COMMANDS: Record<string, Command> = {
  run: { run: runCommand, says: 'the service: keep kernel and rules in step until stopped' },
  apply: { run: applyCommand, says: 'one pass: put into force what the rules ask for' },
  confirm: { run: confirmCommand, says: 'keep what apply --confirm has put into force' },
  plan: { run: planCommand, says: 'what apply would change; touches nothing (exit 3 when something would)' },
  compile: { run: compileCommand, says: 'print the whole ruleset as ipset and iptables-restore text' },
  check: {
    run: checkCommand,
    says: 'what is wrong with the rules marked NAT, and how to mend it',
    files: true,
  },
  list: { run: listCommand, says: 'every NAT rule: state, external, inner, guest, counters' },
  parse: { run: parseCommand, says: 'every file as pve-firewall reads it' },
  rollback: { run: rollbackCommand, says: 'stop the service and remove every trace; --dry-run only tells' },
}

const OPTIONS = {
  'pve-dir': { type: 'string', default: '/etc/pve' },
  node: { type: 'string' },
  config: { type: 'string', default: '/etc/pvenat/pvenat.conf' },
  'state-dir': { type: 'string', default: '/var/lib/pvenat' },
  'run-dir': { type: 'string', default: '/run/pvenat' },
  json: { type: 'boolean', default: false },
  'no-color': { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  confirm: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', default: false },
} as const

/** Runs one command to its end. Results go to stdout, everything else to stderr; usage errors exit with 2. */
export async function cli(argv: readonly string[], io: Io): Promise<number> {
  const parsed = parse(argv)
  if (typeof parsed === 'string') return usageError(parsed, io)
  const { values, positionals } = parsed
  const [name, ...files] = positionals
  if (values.version) return say(io, `pvenat ${VERSION}\n`)
  if (values.help) return say(io, helpText())
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) return usageError(name === undefined ? 'no command given' : `unknown command '${name}'`, io)
  if (files.length > 0 && !command.files) return usageError(`${name} takes no argument '${files[0]}'`, io)
  if (values['dry-run'] && name !== 'rollback')
    return usageError('--dry-run goes with rollback; see plan', io)
  const seconds = Number(values.confirm)
  if (values.confirm !== undefined && name !== 'apply') return usageError('--confirm goes with apply', io)
  if (values.confirm !== undefined && !(seconds >= 1 && seconds <= 3600)) {
    return usageError('--confirm takes seconds from 1 to 3600', io)
  }
  const context: Context = {
    ...(values.confirm === undefined ? {} : { confirmSeconds: seconds }),
    io,
    files,
    json: values.json,
    colour: !values['no-color'] && (process.env.NO_COLOR ?? '') === '' && io.isTerminal,
    dryRun: values['dry-run'],
    paths: {
      pveDir: values['pve-dir'],
      node: values.node ?? (hostname().split('.')[0] as string),
      config: values.config,
      stateDir: values['state-dir'],
      runDir: values['run-dir'],
    },
  }
  try {
    return await command.run(context)
  } catch (error) {
    io.stderr(explainFailure(error))
    return 1
  }
}

function parse(argv: readonly string[]): ReturnType<typeof parseWords> | string {
  try {
    return parseWords(argv)
  } catch (error) {
    return (error as Error).message.split('. ')[0] as string
  }
}

function parseWords(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true, strict: true })
}

function usageError(message: string, io: Io): number {
  io.stderr(`pvenat: ${message}; see pvenat --help\n`)
  return 2
}

function say(io: Io, text: string): number {
  io.stdout(text)
  return 0
}

function helpText(): string {
  const commands = Object.entries(COMMANDS).map(([name, { says }]) => `  ${name.padEnd(10)} ${says}`)
  return `pvenat: NAT from the comments of Proxmox VE firewall rules

usage: pvenat COMMAND [options]

${commands.join('\n')}

options
  --pve-dir DIR    the cluster file system (/etc/pve)
  --node NAME      short name of this node (${hostname().split('.')[0]})
  --config FILE    settings of this node (/etc/pvenat/pvenat.conf)
  --state-dir DIR  what must survive a restart (/var/lib/pvenat)
  --run-dir DIR    what lives as long as the service (/run/pvenat)
  --json           for programs
  --no-color       never colour (also NO_COLOR)
  --dry-run        with rollback: only tell
  --confirm SECS   with apply: take it back unless pvenat confirm comes in time
  --version

examples
  pvenat check                 what is wrong, with the line and the word
  pvenat list                  what leads where
  pvenat plan                  what would change
  pvenat check 107.fw          before you copy it over
`
}
