/** Every recorded line gets the verdict of the real pve-firewall, in every environment, word for word. */
import { describe, expect, test } from 'vitest'
import { toPveJson } from '../../src/fw/json.ts'
import type { RuleEnv } from '../../src/fw/fw-file.ts'
import { readFw, type FileKind } from '../../src/fw/read.ts'
import { contextOf, fixture } from './context.ts'

interface Verdict {
  error?: string
  rule?: Record<string, unknown> & { errors?: Record<string, string> }
}

const LINES = fixture('lines.txt').split('\n').slice(0, -1)

/** What stands above the line: the files in which the verdicts were recorded. */
const ABOVE: Record<RuleEnv, [kind: FileKind, text: string]> = {
  vm: ['vm', `${fixture('100.fw')}[RULES]\n`],
  ct: ['ct', `${fixture('100.fw')}[RULES]\n`],
  host: ['host', '[RULES]\n'],
  vnet: ['vnet', '[RULES]\n'],
  cluster: ['cluster', `${fixture('cluster.fw')}[RULES]\n`],
  group: ['cluster', `${fixture('cluster.fw')}[group judged]\n`],
}

function verdicts(env: RuleEnv): Verdict[] {
  // Recorded as UTF-8, unlike the lines.
  const text = Buffer.from(fixture(`${env}.jsonl`), 'latin1').toString('utf8')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Verdict)
}

function verdict(env: RuleEnv, line: string): Verdict {
  const [kind, above] = ABOVE[env]
  const file = readFw(above + line, kind, contextOf(kind))
  const rule = env === 'group' ? file.groups.get('judged')?.rules[0] : file.rules[0]
  const error = file.skipped[0]?.reason
  return {
    ...(error === undefined ? {} : { error }),
    ...(rule === undefined ? {} : { rule: toPveJson(rule) }),
  }
}

/** Upstream blames whichever of several clashing fields its hash order meets first. */
function isMacroClash(errors: Record<string, string> | undefined): boolean {
  return Object.values(errors ?? {}).some((message) => message.includes('already define in macro'))
}

describe.each(Object.keys(ABOVE) as RuleEnv[])('%s', (env) => {
  const expected = verdicts(env)

  test('there is one verdict for every line', () => {
    expect(expected).toHaveLength(LINES.length)
    expect(LINES.length).toBeGreaterThan(190)
  })

  test.each(LINES.map((line, at) => [at + 1, line] as const))('line %i: %s', (number, line) => {
    const { error, rule } = expected[number - 1] ?? {}
    const got = verdict(env, line)
    if (rule !== undefined && isMacroClash(rule.errors)) {
      expect(isMacroClash(got.rule?.errors)).toBe(true)
      expect({ ...got.rule, errors: null }).toEqual({ ...rule, errors: null })
    } else expect(got).toEqual(error === undefined ? { rule } : { error })
  })
})
