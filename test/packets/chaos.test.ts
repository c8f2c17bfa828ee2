// Never lose, never break: random steps of hostile writers, neighbours, edits and kills, while connections are made all the time.
//   SEED=7 STEPS=1000 npx vitest run --project packets test/packets/chaos.test.ts
import { beforeAll, describe, expect, test } from 'vitest'
import { SEED } from '../seed.ts'
import { Chaos, figures, type Report, type Step } from '../chaos/chaos.ts'
import { deal } from '../chaos/deal.ts'
import { World } from '../chaos/world.ts'
import { backends, snapshot } from '../lab/index.ts'

const seed = SEED
const steps = Number(process.env['STEPS'] ?? 12)
const PROMISE_MS = 1500

describe.each(backends)(`${steps} steps of chaos on %s, SEED=${seed}`, (backend) => {
  const world = new World(backend)
  const { node } = world
  let report: Report

  beforeAll(
    async () => {
      await world.begin()
      const chaos = new Chaos(world)
      await chaos.run(deal(seed, steps)).finally(() => world.watcher.stop())
      report = chaos.report()
      console.log(told(report))
    },
    120_000 + steps * 12_000,
  )

  test('no forward that nobody touched was out of service but by a step that broke it', () => {
    expect(report.asked).toBeGreaterThan(steps * 4)
    expect(
      report.unexplained.map(({ what, failures, fromMs }) => ({ what, failures, step: stepAt(fromMs) })),
    ).toEqual([])
  })

  test(`what was broken worked again within ${PROMISE_MS} ms`, async () => {
    const fairMs = await node.fair(PROMISE_MS, Math.max(...report.outages.map(({ ms }) => ms)))
    expect(report.outages.filter(({ ms }) => ms > fairMs)).toEqual([])
  })

  test('everything of ours was in force again after every step', async () => {
    const fairMs = await node.fair(PROMISE_MS, Math.max(...report.repairs.map(({ ms }) => ms)))
    const late = report.steps.filter(({ actedMs, repairedMs = Infinity }) => !(repairedMs - actedMs < fairMs))
    expect(late.map(({ name, harmed }) => ({ name, harmed }))).toEqual([])
  })

  test('no standing connection was lost', () => {
    expect(report.lost.map(({ what, atMs }) => ({ what, step: stepAt(atMs) }))).toEqual([])
  })

  test('no rule and no set of anybody else was harmed', () => {
    const harmed = report.steps.map(({ name, harmed: all }) => ({
      name,
      theirs: all.filter((line) => line.startsWith('theirs: ')),
    }))
    expect(harmed.filter(({ theirs }) => theirs.length > 0)).toEqual([])
  })

  test('no cycle of pve-firewall failed', () => expect(report.failedCycles).toEqual([]))

  test('in the end nothing is to be done, and rollback leaves no trace', async () => {
    expect(await node.pvenat.run('plan')).toMatchObject({ exitCode: 0 })
    expect(await node.pvenat.run('rollback')).toMatchObject({ exitCode: 0 })
    expect(await snapshot(node.lab)).toBe(node.untouched)
  })

  const stepOf = (atMs: number): Step | undefined =>
    [...report.steps].reverse().find(({ startMs }) => startMs <= atMs)
  const stepAt = (atMs: number): string => stepOf(atMs)?.name ?? 'before the first step'

  function told({
    asked,
    outages,
    repairs,
    lost,
    lostInBreach,
    worstStallMs,
    cycles,
    failedCycles,
    unexplained,
  }: Report): string {
    return [
      `chaos on ${backend}, SEED=${seed}: ${steps} steps, ${asked} connections`,
      `  without service, unexplained: ${unexplained.length}`,
      ...unexplained.map(({ what, failures, fromMs, toMs }) => {
        const into = Math.round(fromMs - (stepOf(fromMs)?.startMs ?? 0))
        return `    ${what}: ${failures.join()} for ${Math.round(toMs - fromMs)} ms, ${into} ms into: ${stepAt(fromMs)}`
      }),
      `  service back after a breach: ${figures(outages)}`,
      `  all in force after a step: ${figures(repairs)}`,
      `  lost streams: ${lost.length}, and ${lostInBreach.length} while somebody had taken the zone or forwarding away; longest stall ${Math.round(worstStallMs)} ms`,
      ...lostInBreach.map(({ what, atMs }) => `    ${what}: ${stepAt(atMs)}`),
      `  failed cycles of pve-firewall: ${failedCycles.length} of ${cycles}`,
    ].join('\n')
  }
})
