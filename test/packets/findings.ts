/** What doctor finds: that it is so for packets, too, and that the fix it prints mends it, after which it has nothing more to say. */
import { expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import type { Ailing, Ailment } from './ailing.ts'

/** Who asks whom, and what the answer is while it is broken, and afterwards. */
interface Asked {
  from: string
  as?: string
  to: string
  broken?: object | 'none'
  mended?: object
}

interface Finding extends Ailment {
  severity: 'error' | 'warning' | 'info'
  ask?: Asked
  /** The fix shows what is to be done, and does not do it. */
  isAdvice?: true
  /** There is none: only a person can choose. */
  hasNoFix?: true
  /** What a person chooses where there is none. */
  types?: (ailing: Ailing) => Promise<unknown>
}

interface Found {
  id: string
  severity: string
  restsOn: string[]
  fix: string[]
}

export const SSH: Asked = {
  from: 'inet',
  to: '203.0.113.2:1022',
  broken: 'none',
  mended: { server: '105' },
}

export async function found({ node }: Ailing): Promise<Found[]> {
  return JSON.parse((await node.pvenat.run('doctor', '--json')).stdout) as Found[]
}

/** What must work before and after each fix, whatever it mends. */
const OTHERS: readonly [from: string, to: string][] = [
  ['inet', '203.0.113.2:822'],
  ['105', '203.0.113.1:443'],
  ['107', '203.0.113.1:443'],
]

/** A test for each, by the name that doctor has for it; behind a colon stands which case of it. */
export function findingTests(ailing: Ailing, findings: Record<string, Finding>): void {
  const others = () =>
    Promise.all(OTHERS.map(([from, to]) => ailing.node.call(from, to, { timeoutMs: 1000 })))
  test.each(Object.entries(findings))('%s', async (name, finding) => {
    const [id = ''] = name.split(':')
    const { severity, ask, isAdvice, hasNoFix, types } = finding
    const before = await others()
    for (const answer of before) expect(answer).toHaveProperty('server')
    const asks = () =>
      ask && ailing.node.call(ask.from, ask.to, { timeoutMs: 300, ...(ask.as ? { from: ask.as } : {}) })
    await ailing.during(finding, async () => {
      const [answer, all] = await Promise.all([asks(), found(ailing)])
      const mine = all.filter((one) => one.id === id)
      expect(mine[0], JSON.stringify(all)).toMatchObject({ id, severity })
      expect(mine[0]?.restsOn).not.toEqual([])
      if (ask?.broken === 'none') expect(typeof answer).toBe('string')
      else if (ask?.broken) expect(answer).toMatchObject(ask.broken)
      const fix = mine.flatMap((one) => one.fix)
      if (hasNoFix) expect(fix).toEqual([])
      if (hasNoFix && !types) return
      expect(fix.join('\n')).not.toMatch(/\b(kill|reboot|shutdown)\b|systemctl (stop|disable|mask)/)
      if (types) {
        await types(ailing)
        await ailing.node.pvenat.run('apply')
      } else {
        const { exitCode, stderr } = await ailing.mend(finding, fix)
        if (!isAdvice) expect(exitCode, `${fix.join('\n')}\n${stderr}`).toBe(0)
      }
      // The service, which does not run, is another matter.
      const left = (await found(ailing)).map((one) => one.id).filter((one) => one !== 'service-stopped')
      expect(left).toEqual([])
      // Its first packet may be lost while the node looks for its neighbours again.
      const isMended = async () => expect(await asks()).toMatchObject(ask?.mended ?? {})
      if (ask?.mended) await waitFor(() => isMended().then(() => true))
      // Nothing else stopped. Client ports differ each time.
      const seen = (answers: Awaited<ReturnType<typeof others>>) =>
        answers.map((answer) => (typeof answer === 'string' ? answer : [answer.server, answer.seenAs]))
      await waitFor(async () => {
        expect(seen(await others())).toEqual(seen(before))
        return true
      })
      expect(await ailing.sh('ls /run')).not.toContain('owned')
    })
    expect((await found(ailing)).map((one) => one.id)).not.toContain(id)
  })
}
