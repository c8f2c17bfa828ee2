/** What programs of the guest have in common: they ask with patience, and tell the host lines of JSON, to descriptor 3. */
import { writeSync } from 'node:fs'
import { waitFor, type Answer, type Lab, type Proto } from '../lab/index.ts'
import type { Row, Told } from './stage.ts'

/** Everything is slow here. */
export const ANSWER_MS = 30_000
const SILENCE_MS = 3_000
const WAIT_MS = 60_000
export const SLOW_MS = 300_000

/** Asks all rows at once; where an answer is missing, conntrack's view is printed. */
export async function ask(lab: Lab, rows: readonly Row[]): Promise<Record<string, Answer>> {
  const asked = rows.map(async ({ name, from, to, options, answer }) => {
    const [endpoint = '', proto = ''] = to.split('/')
    const timeoutMs = answer === null ? SILENCE_MS : ANSWER_MS
    const given = await lab.ask(from, proto as Proto, endpoint, { ...options, timeoutMs })
    return [name, given, answer !== null && typeof given === 'string'] as const
  })
  const all = await Promise.all(asked)
  if (all.some(([, , isMissing]) => isMissing)) {
    const { stdout } = await lab.exec('pve', [
      'sh',
      '-c',
      'conntrack -L 2>&1; conntrack -L -f ipv6 2>&1; ip neigh',
    ])
    console.log(stdout)
  }
  return Object.fromEntries(all.map(([name, given]) => [name, given]))
}

/** Waits for the cause of what is asked next. Where it does not come, the answers tell. */
export async function patiently(isSo: () => Promise<boolean>, what: string): Promise<void> {
  await waitFor(isSo, { timeoutMs: WAIT_MS, intervalMs: 100, what }).catch(({ message }: Error) =>
    console.log(message),
  )
}

/** The end of a stage. */
export function tell(stage: string, asked: Told['answers'], facts: Told['facts'] = {}): void {
  writeSync(3, `${JSON.stringify({ stage, answers: asked, facts } satisfies Told)}\n`)
  console.log(`${process.uptime().toFixed(1)} s: ${stage}`)
}
