/** The steps of explain as a person reads them. */
import type { Explanation, Fix, Step } from '../explain/step.ts'
import { printable } from './diagnostics.ts'

const MARKS: Readonly<Record<Step['verdict'], string>> = { pass: 'ok', stop: 'STOP', note: '-', unknown: '?' }

const ENDS: Readonly<Record<Explanation['gets'], string>> = {
  through: 'The packet gets through, as far as this node can tell.',
  stopped: 'The packet does not get through: see STOP.',
  unknown: 'Whether the packet arrives cannot be told: see ?.',
}

/** `colour` paints the verdicts. */
export function renderExplanation({ gets, steps }: Explanation, colour: boolean): string {
  const lines = steps.flatMap(({ verdict, sentence, restsOn, fix }) => [
    `${paint(verdict, MARKS[verdict].padStart(4), colour)}  ${printable(sentence)}`,
    `      read: ${restsOn.map(printable).join('; ')}`,
    ...(fix ? renderFix(fix) : []),
  ])
  return [...lines, '', ENDS[gets], ''].join('\n')
}

function renderFix({ commands, instead }: Fix): string[] {
  return [
    ...(commands.length > 0 ? ['      fix:'] : []),
    ...commands.map((line) => `        ${printable(line)}`),
    ...(instead === undefined ? [] : [`      ${commands.length > 0 ? 'or' : 'fix'}: ${printable(instead)}`]),
  ]
}

const COLOURS: Readonly<Record<Step['verdict'], string>> = {
  pass: '32',
  stop: '1;31',
  note: '0',
  unknown: '33',
}

function paint(verdict: Step['verdict'], text: string, colour: boolean): string {
  return colour ? `\u001b[${COLOURS[verdict]}m${text}\u001b[0m` : text
}
