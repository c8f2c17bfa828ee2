/** Completions of bash and zsh, made of the table of commands. */
import { PACKET_PROTOCOLS } from '../../src/explain/packet.ts'
import { ROW_STATES } from '../../src/show/list.ts'
import { COMMANDS, COMMON_OPTIONS, type Command, type Option } from '../../src/commands/table.ts'

const FILES = new Set(['DIR', 'FILE'])
/** What stands for the values and arguments that are no files, in the shell; of guests those that have NAT rules. */
const WORDS: Readonly<Record<string, string>> = {
  STATE: ROW_STATES.join(' '),
  'VMID|NAME': `$(grep -o '"vmid". *[0-9]*' /run/pvenat/list.json 2>/dev/null | tr -dc '0-9\\n' | sort -nu)`,
  PROTO: [...PACKET_PROTOCOLS].sort().join(' '),
}

/** For /usr/share/bash-completion/completions/pvenat; needs nothing but bash. */
export function bashCompletion(): string {
  const cases = Object.entries(COMMANDS).map(([name, { options, takes }]) => {
    const files = takes?.includes('FILE') ? '; files=yes' : ''
    const first = WORDS[takes?.split(' ')[0] ?? '']
    const argument = first === undefined ? '' : `; [ "$prev" != ${name} ] || words="${first} $words"`
    return `    ${name}) words="${flags(options).join(' ')}"${argument}${files} ;;`
  })
  const takers = Object.entries(allOptions())
    .filter(([, { value }]) => value !== undefined && FILES.has(value))
    .map(([name]) => `--${name}`)
  const valued = Object.entries(allOptions()).flatMap(([name, { value = '' }]) =>
    WORDS[value] === undefined
      ? []
      : [`    --${name}) mapfile -t COMPREPLY < <(compgen -W "${WORDS[value]}" -- "$cur") && return ;;`],
  )
  return `# bash completion for pvenat; made of its table of commands
_pvenat() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= words= files= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case $word in
    ${Object.keys(COMMANDS).join(' | ')}) command=$word && break ;;
    esac
  done
  case $prev in
    ${takers.join(' | ')}) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
${valued.join('\n')}
  esac
  case $command in
    '') words="${Object.keys(COMMANDS).join(' ')}" ;;
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words ${flags(COMMON_OPTIONS).join(' ')}" -- "$cur")
  if [ -n "$files" ] && [[ $cur != -* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  fi
}
complete -F _pvenat pvenat
`
}

/** For /usr/share/zsh/vendor-completions/_pvenat. */
export function zshCompletion(): string {
  const commands = Object.entries(COMMANDS).map(([name, { says }]) => `    ${quote(`${name}:${says}`)}`)
  const cases = Object.entries(COMMANDS).map(([name, command]) => `    ${name}) ${zshArguments(command)} ;;`)
  return `#compdef pvenat
# zsh completion for pvenat; made of its table of commands
local -a commands common
commands=(
${commands.join('\n')}
)
common=(
${zshOptions(COMMON_OPTIONS)
  .map((line) => `  ${line}`)
  .join('\n')}
)
_arguments -C $common '1:command:->command' '*::argument:->argument'
case $state in
  command) _describe command commands ;;
  argument)
    case $words[1] in
${cases.join('\n')}
    esac ;;
esac
`
}

function zshArguments({ options = {}, takes }: Command): string {
  const files = takes?.includes('FILE') ? [`'*:file:_files'`] : []
  const first = WORDS[takes?.split(' ')[0] ?? '']
  const words = first === undefined ? [] : [`'1:protocol:(${first})'`]
  return ['_arguments $common', ...zshOptions(options), ...words, ...files].join(' ')
}

function zshOptions(options: Readonly<Record<string, Option>>): string[] {
  return Object.entries(options).map(([name, { says, value }]) => {
    const words = WORDS[value ?? '']
    const offered = FILES.has(value ?? '') ? '_files' : words === undefined ? '' : zshWords(words)
    const taken = value === undefined ? '' : `:${value}:${offered}`
    return quote(`--${name}[${says.replace(/[[\]:]/g, '\\$&')}]${taken}`)
  })
}

/** A list of words, or a command that prints them. */
function zshWords(words: string): string {
  return words.startsWith('$') ? `{compadd ${words}}` : `(${words})`
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function flags(options: Readonly<Record<string, Option>> = {}): string[] {
  return Object.keys(options).map((name) => `--${name}`)
}

function allOptions(): Record<string, Option> {
  const own = Object.values(COMMANDS).flatMap(({ options }) => Object.entries(options ?? {}))
  return Object.fromEntries([...Object.entries(COMMON_OPTIONS), ...own])
}
