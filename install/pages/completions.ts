/** Completions of bash and zsh, made of the table of commands. */
import { COMMANDS, COMMON_OPTIONS, type Command, type Option } from '../../src/commands/table.ts'

const FILES = new Set(['DIR', 'FILE'])

/** For /usr/share/bash-completion/completions/pvenat; needs nothing but bash. */
export function bashCompletion(): string {
  const cases = Object.entries(COMMANDS).map(([name, { options, takes }]) => {
    const files = takes?.includes('FILE') ? '; files=yes' : ''
    return `    ${name}) words="${flags(options).join(' ')}"${files} ;;`
  })
  const takers = Object.entries(allOptions())
    .filter(([, { value }]) => value !== undefined && FILES.has(value))
    .map(([name]) => `--${name}`)
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
  return ['_arguments $common', ...zshOptions(options), ...files].join(' ')
}

function zshOptions(options: Readonly<Record<string, Option>>): string[] {
  return Object.entries(options).map(([name, { says, value }]) => {
    const taken = value === undefined ? '' : `:${value}:${FILES.has(value) ? '_files' : ''}`
    return quote(`--${name}[${says.replace(/[[\]:]/g, '\\$&')}]${taken}`)
  })
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
