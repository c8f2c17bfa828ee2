/** What hand-written NAT rules become, for people and for programs. */
import { createCommand, ruleLine, type Becomes, type GuiRule } from '../import/guirule.ts'
import { deadBehind, inOrderOfCreation, switchable, type Imported, type Tried } from '../import/trial.ts'
import { fileName } from '../diagnostic.ts'
import { printable } from './diagnostics.ts'

export function renderImport(all: readonly Imported[]): string {
  if (all.length === 0) return 'there are no NAT rules besides those of pvenat\n'
  const out = new Set(switchable(all))
  const texts = all.map((one) => {
    const { written, becomes, tried } = one
    return [
      `${written.from}: ${printable(written.text)}`,
      ...saysOf(becomes, tried).map((line) => `  ${line}`),
      ...(deadBehind(one) && out.has(one) ? ['  --switch takes it out with that rule'] : []),
      ...(written.boot && written.loaded ? [`  at boot: ${written.boot.file}:${written.boot.line}`] : []),
      '',
    ].join('\n')
  })
  const count = (test: (one: Imported) => boolean): number => all.filter(test).length
  const rules = count(({ becomes }) => 'rule' in becomes)
  const builtIn = count(({ becomes }) => 'builtIn' in becomes)
  const stay = count(({ becomes }) => 'stays' in becomes)
  return [...texts, `${rules} become rules, ${builtIn} are built in, ${stay} stay as they are\n`].join('\n')
}

function saysOf(becomes: Becomes, tried: Tried | undefined): string[] {
  if ('builtIn' in becomes) return [`built in: ${becomes.builtIn}`]
  if ('stays' in becomes) return [`stays: ${printable(becomes.stays)}`]
  const { rule } = becomes
  const there = tried?.there && (tried.there.isOn ? ' (is there)' : ' (is there, switched off)')
  return [
    `becomes ${fileName(rule.file)}: ${ruleLine(rule)}${there ?? ''}`,
    ...(tried?.problems ?? []).map(
      ({ isError, message }) => `${isError ? 'but' : 'note'}: ${printable(message)}`,
    ),
  ]
}

/** Commands for a shell that create the rules that are not there, switched off. */
export function renderPvesh(all: readonly Imported[]): string {
  return inOrderOfCreation(all)
    .map((rule) => `${createCommand(rule)}\n`)
    .join('')
}

interface ImportJson {
  from: string
  text: string
  boot: string | null
  becomes: (GuiRule & { line: string; pvesh: string }) | null
  builtIn: string | null
  stays: string | null
  there: 'on' | 'off' | null
  problems: Tried['problems']
}

/** Keys in this order. */
export function importJson({ written, becomes, tried }: Imported): ImportJson {
  const { from, text, boot } = written
  const rule = 'rule' in becomes ? becomes.rule : undefined
  return {
    from,
    text,
    boot: boot ? `${boot.file}:${boot.line}` : null,
    becomes: rule ? { ...rule, line: ruleLine(rule), pvesh: createCommand(rule) } : null,
    builtIn: 'builtIn' in becomes ? becomes.builtIn : null,
    stays: 'stays' in becomes ? becomes.stays : null,
    there: tried?.there ? (tried.there.isOn ? 'on' : 'off') : null,
    problems: tried?.problems ?? [],
  }
}
