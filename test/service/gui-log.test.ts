// The answer in the GUI: which lines of the firewall log a save makes, who sees them, and that nothing else suffers for them.
import fc from 'fast-check'
import { mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { compile, type Outcome } from '../../src/pipeline.ts'
import { HOURLY_LINES } from '../../src/service/allowance.ts'
import { makeGuiLog, type GuiLog } from '../../src/service/gui-log.ts'
import { diffTexts, type RowChange } from '../../src/show/changes.ts'
import { locate } from '../../src/show/diagnostics.ts'
import { linesOf, logLine, standing, type GuiLine } from '../../src/show/guilines.ts'
import { listRows, rowText } from '../../src/show/list.ts'
import { caseOf, loadCases } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import { guiLines, timeOf } from './firewall-log.ts'

const AT = new Date('2026-11-30T06:12:05Z')
const PVE = '/etc/pve'

let dir: string
let path: string
let told: string[]
let log: GuiLog
let at: Date
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pvenat-guilog-'))
  path = join(dir, 'pve-firewall.log')
  await writeFile(path, '', { mode: 0o640 })
  told = []
  at = AT
  log = makeGuiLog({ path, now: () => at, tell: (message) => told.push(message) })
})
afterEach(() => rm(dir, { recursive: true }))

const bytes = (text: string): string => Buffer.from(text).toString('latin1')

async function outcomeOf(files: Record<string, string[]>, settings = ''): Promise<Outcome> {
  const fw = Object.entries(files).map(
    ([file, rules]) => [file, bytes(`[OPTIONS]\nenable: 1\n[RULES]\n${rules.join('\n')}\n`)] as const,
  )
  const conf = settings === '' ? [] : [['pvenat.conf', `[nat]\n${settings}\n`] as const]
  return compile((await worldOf(caseOf(new Map([...fw, ...conf])))).look)
}

function changesOf(before: Outcome | undefined, after: Outcome): RowChange[] {
  const texts = (one: Outcome | undefined): string[] => (one ? listRows(one, PVE).map(rowText) : [])
  return diffTexts(texts(before), texts(after))
}

/** Saves one after the other; the log as it then stands. */
async function saved(...outcomes: Outcome[]): Promise<string> {
  let before: Outcome | undefined
  for (const outcome of outcomes) {
    const { view, translation } = outcome
    log.passed({ changes: changesOf(before, outcome), diagnostics: translation.diagnostics, view })
    await log.written()
    before = outcome
  }
  return await readFile(path, 'utf8')
}

/** Without the time. */
const texts = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/^(\d+ \d \w+) \S+ \S+/, '$1'))

describe('a save is answered', () => {
  test('with what is in force, by the place of the rule in the list', async () => {
    const text = await saved(
      await outcomeOf({
        'firewall/105.fw': ['IN ACCEPT -p tcp -dport 25', 'IN SSH(ACCEPT) # NAT 2222 ssh in'],
      }),
    )
    const [line = ''] = guiLines(text, 105)
    expect(texts([line])).toEqual([
      '105 6 NAT applied: :2222/tcp -> 10.10.10.105:22 (rule 1, NAT 2222 ssh in)',
    ])
    expect(timeOf(line)).toBe(AT.getTime() / 1000)
    expect(line).toMatch(/^105 6 NAT \d\d\/Nov\/2026:\d\d:\d\d:05 [+-]\d{4} applied: /)
  })

  test('with errors and their help, and once when they are over', async () => {
    const wrong = await outcomeOf({ 'firewall/105.fw': ['IN HTTP(ACCEPT) # NAT port 9090'] })
    const right = await outcomeOf({ 'firewall/105.fw': ['IN HTTP(ACCEPT) # NAT 9090'] })
    const error =
      "error: 'port 9090' is free text here; without it this rule would forward 80; did you mean NAT 9090? If it is text: NAT - port 9090 (rule 0, NAT port 9090)"
    expect(texts(guiLines(await saved(wrong, wrong, right), 105))).toEqual([
      `105 3 NAT ${error}`,
      '105 6 NAT applied: :9090/tcp -> 10.10.10.105:80 (rule 0, NAT 9090)',
      `105 6 NAT over: ${error}`,
    ])
  })

  test('with near misses, questions and what is removed', async () => {
    const asked = await outcomeOf({
      'firewall/105.fw': ['IN HTTP(ACCEPT) # NAT ?', 'IN HTTP(ACCEPT) # nat 81'],
    })
    const text = await saved(await outcomeOf({ 'firewall/105.fw': ['IN HTTP(ACCEPT) # NAT 81'] }), asked)
    expect(texts(guiLines(text, 105)).slice(1)).toEqual([
      '105 6 NAT removed: :81/tcp -> 10.10.10.105:80 (NAT 81)',
      "105 6 NAT note: nothing is in force by '?'; NAT alone would open :80/tcp -> 10.10.10.105:80; free ports: 1-21,23-84,86-110,112-3127,3129-5899 and more; for example: NAT 80 (rule 0, NAT ?)",
      "105 6 NAT note: 'nat 81' does not begin with NAT and a blank, so it is no NAT; if NAT is meant: NAT 81 (rule 1, nat 81)",
    ])
  })

  test('to the node, where the datacenter or the node wrote the rule', async () => {
    const text = await saved(
      await outcomeOf({
        'firewall/cluster.fw': [
          'IN ACCEPT -p tcp -dport 25 # NAT 2525 to=10.10.10.105',
          'OUT ACCEPT # NAT 25',
        ],
        'nodes/pve1/host.fw': ['IN ACCEPT -p tcp -dport 26 # NAT 2626 to=10.10.10.105'],
      }),
    )
    expect(texts(guiLines(text))).toEqual([
      '0 6 NAT applied: :2626/tcp -> 10.10.10.105:26 (node rule 0, NAT 2626 to=10.10.10.105)',
      '0 6 NAT applied: :2525/tcp -> 10.10.10.105:25 (datacenter rule 0, NAT 2525 to=10.10.10.105)',
      "0 3 NAT error: an OUT rule takes an address or 'none', not ports: '25'; did you mean NAT? (datacenter rule 1, NAT 25)",
    ])
  })

  test('as much as the settings want', async () => {
    const rules = {
      'firewall/105.fw': [
        'IN HTTP(ACCEPT) # NAT 81',
        'IN HTTP(ACCEPT) # NAT 82 83',
        'IN HTTP(ACCEPT) # NAT x 84',
      ],
    }
    expect(texts(guiLines(await saved(await outcomeOf(rules, 'gui-log = errors')), 105))).toEqual([
      expect.stringMatching(/^105 3 NAT error: 'x 84' is free text here/),
    ])
    log = makeGuiLog({ path, now: () => at, tell: () => undefined })
    await writeFile(path, '')
    expect(await saved(await outcomeOf(rules, 'gui-log = no'))).toBe('')
  })

  test('not again by a service that starts anew', async () => {
    const outcome = await outcomeOf({ 'firewall/105.fw': ['IN HTTP(ACCEPT) # NAT port 9090'] })
    const published = locate(outcome.translation.diagnostics, new Map(), PVE)
    log = makeGuiLog({ path, now: () => at, tell: () => undefined }, published)
    expect(await saved(outcome)).toBe('')
  })
})

/** A guest's own name and number may stand in its lines; those of others must not. */
test.each(loadCases().map((one) => [one.name, one] as const))(
  'nobody reads of other guests: %s',
  async (_, one) => {
    const { look } = await worldOf(one)
    const outcome = compile(look)
    const { translation, view } = outcome
    const changes = changesOf(undefined, outcome)
    const lines = linesOf(changes, new Map(), standing(translation.diagnostics, view), view, 'yes')
    const text = lines.map((line) => logLine(line, AT)).join('')
    expect(guiLines(text)).toHaveLength(lines.length)
    for (const { guest } of view.guests) {
      const own = guiLines(text, guest.vmid).join('\n')
      for (const { guest: other } of view.guests.filter((another) => another.guest !== guest)) {
        // What the tenant typed is shown as it was typed.
        expect(own.replace(/ \(rule \d+, .*\)/g, '')).not.toMatch(
          new RegExp(`guest ${other.vmid}\\b|\\(${other.name}\\)|\\b${other.vmid}\\.fw`),
        )
      }
    }
  },
)

test('a conflict says no more than that it is another guest', async () => {
  const rules = ['IN SSH(ACCEPT) # NAT 2222']
  const text = await saved(await outcomeOf({ 'firewall/105.fw': rules, 'firewall/108.fw': rules }))
  expect(texts(guiLines(text, 108))).toEqual([
    '108 6 NAT applied in part: :2222/tcp -> 10.10.10.108, [fd10::108]:22 (rule 0, NAT 2222)',
    expect.stringMatching(/^108 3 NAT error: external port 2222\/tcp is already forwarded by another guest;/),
  ])
})

const hostile = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\n106 3 x', '\r\n0 6 NAT', '\u2028106 ', '\0'),
)

test('no text starts a line of its own or of another guest', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 100, max: 120 }), hostile), { maxLength: 8 }), (all) => {
      const lines = all.map(([vmid, text]): GuiLine => ({ vmid, severity: 'error', text }))
      const text = lines.map((line) => logLine(line, AT)).join('')
      expect(guiLines(text)).toHaveLength(all.length)
      for (const [vmid] of all)
        expect(guiLines(text, vmid)).toHaveLength(all.filter(([other]) => other === vmid).length)
      for (const line of guiLines(text)) expect(timeOf(line)).toBe(AT.getTime() / 1000)
    }),
  )
})

test('a tenant who saves a thousand times in a minute fills no log, and takes no line of others', async () => {
  const mine = ['IN SSH(ACCEPT) # NAT 2223']
  const both = await Promise.all(
    [2222, 8006].map((port) =>
      outcomeOf({
        'firewall/105.fw': Array.from(
          { length: 30 },
          (_, i) => `IN SSH(ACCEPT) # NAT ${port + i} ${'x'.repeat(2000)}`,
        ),
      }),
    ),
  )
  const last = await outcomeOf({ 'firewall/107.fw': mine })
  const [one, other] = both as [Outcome, Outcome]
  const changes = [changesOf(other, one), changesOf(one, other)]
  for (let i = 0; i < 1000; i++) {
    at = new Date(AT.getTime() + i * 60)
    const { view, translation } = i % 2 === 0 ? one : other
    log.passed({ changes: changes[i % 2]!, diagnostics: translation.diagnostics, view })
  }
  log.passed({ changes: changesOf(one, last), diagnostics: [], view: last.view })
  await log.written()
  const text = await readFile(path, 'utf8')
  expect(guiLines(text, 105)).toHaveLength(HOURLY_LINES.log.guest)
  expect(guiLines(text, 105).at(-1)).toContain('no more in this hour')
  expect(text.length).toBeLessThan(HOURLY_LINES.log.guest * 700)
  expect(texts(guiLines(text, 107))).toEqual([
    '107 6 NAT applied: :2223/tcp -> 10.10.10.107:22 (rule 0, NAT 2223)',
  ])
  at = new Date(AT.getTime() + 3_600_000)
  log.passed({ changes: changes[0]!, diagnostics: [], view: one.view })
  await log.written()
  expect(guiLines(await readFile(path, 'utf8'), 105).length).toBeGreaterThan(HOURLY_LINES.log.guest)
})

describe('the file', () => {
  test('is opened anew after it was moved, and never made', async () => {
    const [one, two] = [
      await outcomeOf({ 'firewall/105.fw': ['IN SSH(ACCEPT) # NAT 2222'] }),
      await outcomeOf({ 'firewall/105.fw': ['IN SSH(ACCEPT) # NAT 2223'] }),
    ]
    await saved(one)
    await rename(path, `${path}.1`)
    log.passed({ changes: changesOf(one, two), diagnostics: [], view: two.view })
    await log.written()
    await expect(stat(path)).rejects.toThrow('ENOENT')
    await writeFile(path, '', { mode: 0o640 })
    // The next look takes along what could not be written.
    log.passed({ changes: [], diagnostics: [], view: two.view })
    await log.written()
    expect(guiLines(await readFile(path, 'utf8'), 105)).toHaveLength(1)
    expect(guiLines(await readFile(`${path}.1`, 'utf8'), 105)).toHaveLength(1)
    expect((await stat(path)).mode & 0o777).toBe(0o640)
    expect(told).toEqual([])
  })

  test('is left alone when it is no file, which is told once, and once when it is over', async () => {
    const outcome = await outcomeOf({ 'firewall/105.fw': ['IN SSH(ACCEPT) # NAT 2222'] })
    await rm(path)
    await symlink('/dev/full', path)
    const pass = (): Promise<void> => {
      log.passed({ changes: changesOf(undefined, outcome), diagnostics: [], view: outcome.view })
      return log.written()
    }
    await pass()
    await pass()
    expect(told).toEqual([expect.stringMatching(/^cannot write .*pve-firewall\.log: ELOOP;/)])
    await rm(path)
    await writeFile(path, '')
    await pass()
    expect(told[1]).toMatch(/can be written again$/)
    expect(guiLines(await readFile(path, 'utf8'), 105)).toHaveLength(3)
  })

  test('of which a line was cut off by a full disk goes on with a line of its own', async () => {
    await writeFile(path, '107 6 tap107i0-IN 30/Nov/2026:07:12:05 +0100 policy DR')
    const text = await saved(await outcomeOf({ 'firewall/105.fw': ['IN SSH(ACCEPT) # NAT 2222'] }))
    expect(guiLines(text, 105)).toHaveLength(1)
    expect(guiLines(text, 107)).toHaveLength(1)
  })
})
