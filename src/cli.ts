/** The command line: argv → exit code. The world comes in as `Io`, so that tests and the bin share this. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { shortName, type Context } from './commands/context.ts'
import { UsageError, type Io } from './io.ts'
import { nearest } from './nearest.ts'
import { explainFailure } from './node/failure.ts'
import { commandHelp, generalHelp } from './commands/help.ts'
import { COMMANDS, COMMON_OPTIONS, type Command } from './commands/table.ts'
import { withProgress } from './progress.ts'
import { wrapProse } from './show/columns.ts'
import { VERSION } from './version.ts'

/** Runs one command to its end. Results go to stdout, everything else to stderr; usage errors exit with 2. */
export async function cli(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await runWords(argv, io)
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr(`pvenat: ${error.message}; see pvenat --help\n`)
      return 2
    }
    io.stderr(explainFailure(error))
    return 1
  }
}

async function runWords(argv: readonly string[], io: Io): Promise<number> {
  const { name, words, values } = parse(argv)
  if (values.version) return say(io, `pvenat ${VERSION}\n`)
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (values.help) return say(wrapped(io), command ? commandHelp(name as string, command) : generalHelp())
  if (!command) throw new UsageError(name === undefined ? 'no command given' : unknownCommand(name))
  checkUsage(name as string, command, words, values)
  const shown = command.isVerbatim?.(values) || values.json || values['verbose'] ? io : wrapped(io)
  if (command.isLong?.(values)) return await command.run(contextOf(words, values, shown))
  return await withProgress(shown, (told) => command.run(contextOf(words, values, told)))
}

function unknownCommand(name: string): string {
  const near = nearest(name, Object.keys(COMMANDS))
  return `unknown command '${name}'${near === undefined ? '' : `, did you mean ${near}?`}`
}

type Values = Context['values']

function parse(argv: readonly string[]): { name: string | undefined; words: string[]; values: Values } {
  const all = Object.values(COMMANDS).flatMap(({ options }) => Object.entries(options ?? {}))
  const known = [...Object.entries(COMMON_OPTIONS), ...all].map(([name, option]) => [
    name,
    {
      type: option.value === undefined ? 'boolean' : 'string',
      ...(option.default === undefined ? {} : { default: option.default }),
      ...(name === 'help' ? { short: 'h' } : {}),
    },
  ])
  const config: ParseArgsConfig = { args: [...argv], options: Object.fromEntries(known) as never }
  try {
    const { values, positionals } = parseArgs({ ...config, allowPositionals: true, strict: true })
    const [name, ...words] = positionals
    return { name, words, values }
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}

function checkUsage(name: string, { takes, options = {} }: Command, words: string[], values: Values): void {
  if (words.length > 0 && takes === undefined) throw new UsageError(`${name} takes no argument '${words[0]}'`)
  for (const option of Object.keys(values)) {
    if (Object.hasOwn(COMMON_OPTIONS, option) || Object.hasOwn(options, option)) continue
    const owners = Object.keys(COMMANDS).filter((one) => COMMANDS[one]?.options?.[option])
    throw new UsageError(`--${option} goes with ${owners.join(' or ')}`)
  }
}

function contextOf(words: string[], values: Values, io: Io): Context {
  const text = (name: string): string => String(values[name])
  return {
    io,
    words,
    values,
    json: values.json === true,
    colour: values['no-color'] !== true && (process.env.NO_COLOR ?? '') === '' && io.isTerminal,
    paths: {
      pveDir: text('pve-dir'),
      node: values.node === undefined ? shortName() : text('node'),
      config: text('config'),
      stateDir: text('state-dir'),
      runDir: text('run-dir'),
    },
  }
}

/** Text that is wider than the terminal is broken at its blanks. A terminal that does not know its width says 0. */
function wrapped(io: Io): Io {
  const fit =
    (write: Io['stdout']): Io['stdout'] =>
    (text) =>
      write(wrapProse(text, io.size?.()?.columns || Infinity))
  return { ...io, stdout: fit(io.stdout), stderr: fit(io.stderr) }
}

function say(io: Io, text: string): number {
  io.stdout(text)
  return 0
}
