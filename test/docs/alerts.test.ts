// The alerts: promtool reads them, and they fire for what pvenat really says.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { renderMetrics } from '../../src/show/metrics.ts'
import { told } from '../web/published.ts'

const FILE = resolve('docs/alerts.yml')
const ALERTS = ['PvenatDown', 'PvenatNotInSync', 'PvenatDegraded', 'PvenatRulesFail', 'PvenatRepairs']

test('promtool reads them', async () => {
  expect((await execa('promtool', ['check', 'rules', FILE])).stdout).toContain(`${ALERTS.length} rules found`)
})

test('every figure that they ask for is one of pvenat', async () => {
  const asked = new Set((await readFile(FILE, 'utf8')).match(/\bpvenat_\w+/g))
  const text = renderMetrics(
    { status: told(1).status, rows: told(1).rows, counters: undefined },
    Date.now(),
    5,
  )
  expect(asked.size).toBeGreaterThan(4)
  for (const name of asked) expect(text).toContain(`# TYPE ${name} `)
})

test.each([
  ['PvenatDown', { pvenat_up: '0' }],
  ['PvenatNotInSync', { pvenat_up: '1', pvenat_in_step: '0' }],
  ['PvenatDegraded', { pvenat_up: '1', pvenat_degraded: '1' }],
  ['PvenatRulesFail', { pvenat_up: '1', 'pvenat_rules{state="error"}': '2' }],
  ['PvenatRepairs', { pvenat_up: '1', 'pvenat_repairs_total{kind="chain"}': '0+1x60' }],
  ['', { pvenat_up: '1', pvenat_in_step: '1', pvenat_degraded: '0', 'pvenat_rules{state="active"}': '9' }],
])('%s fires, and nothing else', async (alert, series) => {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-alerts-'))
  const lines = Object.entries(series).map(([name, value]) => {
    const labelled = name.includes('{') ? name.replace('{', '{instance="pve1",') : `${name}{instance="pve1"}`
    return { series: labelled, values: value.includes('x') ? value : `${value}+0x60` }
  })
  const alerts = ALERTS.map((alertname) => ({ eval_time: '30m', alertname, exp_alerts: [] as object[] }))
  const file = join(dir, 'test.yml')
  // The sentences are for people.
  const rules = (await readFile(FILE, 'utf8')).replace(/^ +(annotations|summary):.*\n/gm, '')
  await writeFile(join(dir, 'alerts.yml'), rules)
  const firing = async (expected: boolean): Promise<number | undefined> => {
    const severity = ['PvenatDown', 'PvenatNotInSync'].includes(alert) ? 'critical' : 'warning'
    const wanted = alerts.map((one) =>
      one.alertname === alert && expected
        ? { ...one, exp_alerts: [{ exp_labels: { instance: 'pve1', severity } }] }
        : one,
    )
    const tests = {
      rule_files: ['alerts.yml'],
      evaluation_interval: '1m',
      tests: [{ interval: '1m', input_series: lines, alert_rule_test: wanted }],
    }
    // JSON is YAML.
    await writeFile(file, JSON.stringify(tests))
    return (await execa('promtool', ['test', 'rules', file], { reject: false })).exitCode
  }
  const [fires, isSilent] = [await firing(true), await firing(false)]
  await rm(dir, { recursive: true })
  expect([fires, isSilent]).toEqual(alert === '' ? [0, 0] : [0, 1])
})
