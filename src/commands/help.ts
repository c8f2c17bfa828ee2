/** `--help`, made of the table of commands. */
import { shortName } from './context.ts'
import { COMMANDS, COMMON_OPTIONS, type Command, type Example, type Option } from './table.ts'

/** What `pvenat --help` prints. */
export function generalHelp(): string {
  const commands = Object.entries(COMMANDS).map(([name, { says }]) => `  ${name.padEnd(10)} ${says}`)
  const examples = Object.values(COMMANDS).flatMap((command) => command.examples ?? [])
  return `pvenat: NAT from the comments of Proxmox VE firewall rules

usage: pvenat COMMAND [options]

${commands.join('\n')}

options
${optionLines(COMMON_OPTIONS).join('\n')}

examples
${exampleLines(examples).join('\n')}
`
}

/** What `pvenat NAME --help` prints. */
export function commandHelp(name: string, { says, takes, options, examples }: Command): string {
  const usage = ['pvenat', name, ...(takes === undefined ? [] : [takes]), '[options]'].join(' ')
  const own = options ? ['', 'options', ...optionLines(options)] : []
  const shown = examples ? ['', 'examples', ...exampleLines(examples)] : []
  return [
    `usage: ${usage}`,
    '',
    says,
    ...own,
    ...shown,
    '',
    'options for all commands: pvenat --help',
    '',
  ].join('\n')
}

const LEAST_FLAG_CHARS = 16

function optionLines(options: Readonly<Record<string, Option>>): string[] {
  const lines = Object.entries(options).map(([name, { value, says, default: usual }]) => {
    const preset = usual ?? (name === 'node' ? shortName() : undefined)
    const flag = `--${name}${value === undefined ? '' : ` ${value}`}`
    return { flag, text: says + (preset === undefined ? '' : ` (${preset})`) }
  })
  const chars = Math.max(LEAST_FLAG_CHARS, ...lines.map(({ flag }) => flag.length))
  return lines.map(({ flag, text }) => `  ${flag.padEnd(chars)} ${text}`)
}

function exampleLines(examples: readonly Example[]): string[] {
  const width = Math.max(...examples.map(({ line }) => line.length))
  return examples.map(({ line, says }) => `  ${line.padEnd(width)}  ${says}`)
}
