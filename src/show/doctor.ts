/** The findings of doctor as a person reads them. */
import type { Finding } from '../checks/finding.ts'
import { coloured, plain, printable } from './diagnostics.ts'

/** `colour` paints the severities. */
export function renderFindings(findings: readonly Finding[], colour: boolean): string {
  if (findings.length === 0) return 'nothing on this node keeps NAT from working\n'
  const paint = colour ? coloured : plain
  const texts = findings.map(({ id, severity, finding, restsOn, fix, why }) =>
    [
      `${paint(severity, `${severity}[${id}]`)}: ${printable(finding)}`,
      `   read: ${restsOn.map(printable).join('; ')}`,
      `   why:  ${printable(why)}`,
      ...(fix.length > 0 ? ['   fix:', ...fix.map((line) => `     ${printable(line)}`)] : []),
      '',
    ].join('\n'),
  )
  return texts.join('\n')
}
