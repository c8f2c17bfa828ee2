// The figures, as Prometheus' own tool reads them, and the dashboard that is made of them.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cli } from '../../src/cli.ts'
import { renderMetrics } from '../../src/show/metrics.ts'
import { readFolder } from '../../src/node/published.ts'
import { RunFolder, told } from '../web/published.ts'

let folder: RunFolder
beforeAll(async () => {
  folder = await RunFolder.create(told(30, 10))
})
afterAll(() => folder.remove())

/** What `promtool check metrics` says of a text; nothing when it is right. */
function promtool(text: string): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('promtool', ['check', 'metrics'], (error, stdout, stderr) =>
      resolve(error && stderr === '' ? error.message : stdout + stderr),
    )
    child.stdin?.end(text)
  })
}

const metrics = async (top = 50): Promise<string> =>
  renderMetrics(await readFolder(folder.dir), Date.now(), top)
const value = (text: string, name: string): number =>
  Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])

test('promtool accepts them, and would not accept others', async () => {
  expect(await promtool(await metrics())).toBe('')
  expect(await promtool(await metrics(3))).toBe('')
  expect(await promtool('pvenat_x{a="b} 1\n')).not.toBe('')
})

test('promtool accepts what a hostile name makes of them', async () => {
  const set = told(1)
  const [row] = set.rows
  const name = 'a"} 1\npvenat_evil 666\\ \ud800 \u202e \0'
  const rows = row ? [{ ...row, guest: { vmid: 1, name } }] : []
  const counters = { at: '', rules: new Map([[row?.id ?? '', [1, 2] as const]]) }
  const text = renderMetrics({ status: set.status, rows, counters }, Date.now(), 5)
  expect(await promtool(text)).toBe('')
  expect(text).not.toMatch(/^pvenat_evil/m)
})

test('several uplinks have series of their own', async () => {
  const uplinks = new Map([['wg0', [3, 2, 1400] as const]])
  const counters = { at: '', rules: new Map(), uplinks }
  const text = renderMetrics({ status: undefined, rows: [], counters }, Date.now(), 5)
  expect(await promtool(text)).toBe('')
  expect(text).toContain('pvenat_uplink_connections_total{uplink="wg0",direction="in"} 3\n')
  expect(text).toContain('pvenat_uplink_connections_total{uplink="wg0",direction="out"} 2\n')
  expect(text).toContain('pvenat_uplink_bytes_total{uplink="wg0"} 1400\n')
})

test('the status is in them', async () => {
  const text = await metrics()
  expect(text).toMatch(/^pvenat_build_info\{version=".+"\} 1$/m)
  expect(value(text, 'pvenat_up')).toBe(1)
  expect(value(text, 'pvenat_in_step')).toBe(1)
  expect(value(text, 'pvenat_apply_duration_seconds')).toBe(0.0415)
  expect(value(text, 'pvenat_lock_hold_seconds')).toBe(0.01225)
  expect(value(text, 'pvenat_last_apply_age_seconds')).toBeLessThan(60)
  expect(text).toContain('pvenat_repairs_total{kind="set"} 2\n')
  expect(text).toContain('pvenat_rules{state="error"} 3\n')
  expect(text).toContain('pvenat_diagnostics{code="port-taken",severity="error"} 3\n')
})

test('the busiest rules have series of their own, and the rest is one', async () => {
  const text = await metrics(4)
  const own = text.match(/^pvenat_rule_packets_total\{.*$/gm) ?? []
  const { rules } = told(30, 10).counters
  const packets = Object.values(rules)
    .map(([count]) => count)
    .sort((a, b) => b - a)
  expect(own.map((line) => Number(line.split(' ').pop()))).toEqual(packets.slice(0, 4))
  expect(value(text, 'pvenat_other_rules')).toBe(26)
  expect(value(text, 'pvenat_other_rules_packets')).toBe(packets.slice(4).reduce((sum, one) => sum + one, 0))
})

test('a service that says nothing is down, whatever it said last', async () => {
  const published = await readFolder(folder.dir)
  expect(value(renderMetrics(published, Date.now() + 60_000, 5), 'pvenat_up')).toBe(0)
  const none = renderMetrics(await readFolder('/nonexistent'), Date.now(), 5)
  expect(value(none, 'pvenat_up')).toBe(0)
  expect(none).not.toContain('in_step')
})

test('pvenat metrics writes the same in one step, for everybody to read', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-metrics-'))
  const say: string[] = []
  const io = {
    stdout: (text: string) => void say.push(text),
    stderr: (text: string) => void say.push(text),
    isTerminal: false,
  }
  const file = join(dir, 'pvenat.prom')
  expect(await cli(['metrics', '--run-dir', folder.dir, '--output', file], io)).toBe(0)
  expect(say).toEqual([])
  expect((await stat(file)).mode & 0o777).toBe(0o644)
  expect(await readdir(dir)).toEqual(['pvenat.prom'])
  expect(await cli(['metrics', '--run-dir', folder.dir], io)).toBe(0)
  const steady = (text = ''): string => text.replace(/^pvenat_last_apply_age.*$/gm, '')
  expect(steady(say.join(''))).toBe(steady(await readFile(file, 'utf8')))
  expect(await cli(['metrics', '--top', '1e9'], io)).toBe(2)
  await rm(dir, { recursive: true })
})

test('every metric that the dashboard names exists', async () => {
  const dashboard = await readFile('docs/grafana.json', 'utf8')
  const named = new Set(dashboard.match(/pvenat_\w+/g))
  const known = new Set([...(await metrics(3)).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  expect([...named].filter((name) => !known.has(name))).toEqual([])
  expect([...known].filter((name) => !named.has(name ?? ''))).toEqual([])
})
