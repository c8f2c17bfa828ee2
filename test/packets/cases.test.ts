// The cases that say which packets go where, on a real kernel: one lab for each backend, both at once.
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile } from '../../src/pipeline.ts'
import { NOTHING_INSTALLED } from '../../src/ruleset/installed.ts'
import { makePlan } from '../../src/ruleset/plan.ts'
import { loadCases, type Case } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'
import {
  addRules,
  backends,
  createLab,
  Pvenat,
  removeTree,
  type Answer,
  type AskOptions,
  type Backend,
  type Lab,
  type Proto,
} from '../lab/index.ts'
import { casePlan, makeCaseTree } from './casetree.ts'

const cases = loadCases().filter(({ packets }) => packets.length > 0)
const guests = ['105', '107', '108', '110', '200']
const silentTimeoutMs = 300

/** A line `FROM[:PORT] [as ADDRESS] ADDRESS:PORT/PROTO -> ANSWER`. */
interface Question {
  line: string
  from: string
  to: string
  proto: Proto
  options: AskOptions
  /** `105:22 sees 203.0.113.1`, or what there is instead of an answer. */
  answer: string
}

function parseQuestion(line: string): Question {
  const match =
    /^(\w+)(?::(\d+))?(?: as (\S+))? (\S+)\/(tcp|udp) -> (\w+:\d+(?: sees \S+)?|refused|nothing)$/.exec(line)
  if (!match) throw new Error(`not a question: ${line}`)
  const [, from = '', fromPort, as, to = '', proto = '', answer = ''] = match
  const options: AskOptions = {}
  if (as !== undefined) options.from = as
  if (fromPort !== undefined) options.fromPort = Number(fromPort)
  if (answer === 'nothing') options.timeoutMs = silentTimeoutMs
  return { line, from, to, proto: proto as Proto, options, answer }
}

function answerText(answer: Answer, wanted: string): string {
  if (typeof answer === 'string') return answer
  const { server, port, seenAs } = answer
  return `${server}:${port}${wanted.includes(' sees ') || !/:\d+$/.test(wanted) ? ` sees ${seenAs}` : ''}`
}

/**
 * Every guest and the internet serve every port that the case speaks of, so that a packet which goes astray is answered by
 * the wrong one instead of refused. The node serves only what the case says.
 */
async function serveAll(lab: Lab, { files }: Case, questions: readonly Question[]): Promise<void> {
  const inner = [...files.values()].flatMap((text) => [...text.matchAll(/-dport (\d+)/g)])
  const asked = questions.flatMap(({ to, answer }) => [/:(\d+)$/.exec(to), /^\w+:(\d+)/.exec(answer)])
  const ports = new Set([...inner, ...asked].flatMap((match) => (match ? [Number(match[1])] : [])))
  const protos = new Set(questions.map(({ proto }) => proto))
  const callers = questions.filter(({ options }) => options.fromPort !== undefined).map(({ from }) => from)
  const names = ['inet', ...guests].filter((name) => !callers.includes(name))
  await Promise.all(names.flatMap((name) => [...protos].map((proto) => lab.serve(name, proto, ...ports))))
  await onNode(questions, (proto, port) => lab.serve('pve', proto, port))
}

async function onNode(
  questions: readonly Question[],
  act: (proto: Proto, port: number) => Promise<void>,
): Promise<void> {
  await Promise.all(
    questions.map(async ({ proto, answer }) => {
      const port = /^pve:(\d+)/.exec(answer)?.[1]
      if (port !== undefined) await act(proto, Number(port))
    }),
  )
}

/** The lines of the packets as they went. */
async function walk(lab: Lab, one: Case, backend: Backend): Promise<string[]> {
  const tree = await makeCaseTree(one, backend)
  const questions = one.packets.map(parseQuestion)
  const foreign = (lines: string): Promise<void> => addRules(lab, backend, 4, `*filter\n${lines}COMMIT\n`)
  if (one.filter !== '') await foreign(one.filter)
  const apply = (dir: string) => new Pvenat(lab, backend, dir).run('apply', '--state-dir', `${tree}/state`)
  if (one.before.size > 0) {
    const before = await makeCaseTree({ ...one, files: new Map([...one.files, ...one.before]) }, backend)
    await apply(before)
    await removeTree(before)
  }
  const [applied] = await Promise.all([apply(tree), serveAll(lab, one, questions)])
  expect(applied.stderr).not.toMatch(/^pvenat: /m)
  const answers = await Promise.all(
    questions.map(async ({ line, from, to, proto, options, answer }) => {
      const got = answerText(await lab.ask(from, proto, to, options), answer)
      return `${line.replace(/ -> .*/, '')} -> ${got}`
    }),
  )
  if (one.filter !== '') await foreign(one.filter.replace(/^-A/gm, '-D'))
  await onNode(questions, (proto, port) => lab.unserve('pve', proto, port))
  await removeTree(tree)
  return answers
}

/** Loads every ruleset in a directory into the kernel, the next over the last, and names those that it refuses. */
const loadEach = `
clear() {
  printf '*raw\\nCOMMIT\\n*filter\\nCOMMIT\\n*nat\\nCOMMIT\\n' >empty
  iptables-$0-restore empty && ip6tables-$0-restore empty && ipset destroy
}
clear
for sets in *.sets; do
  name=\${sets%.sets}
  ipset restore <"$sets" && iptables-$0-restore "$name.v4" && ip6tables-$0-restore "$name.v6" || echo "refused: $name"
  clear
done`

/** Writes the rulesets of all cases as the restore programs take them. */
async function writeRulesets(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-rulesets-'))
  for (const one of loadCases()) {
    const { sets, tables } = makePlan(compile((await worldOf(one)).look).ruleset, NOTHING_INSTALLED)
    const files = { sets, v4: tables[4], v6: tables[6] }
    for (const [end, text] of Object.entries(files)) await writeFile(join(dir, `${one.name}.${end}`), text)
  }
  return dir
}

describe('cases', () => {
  const labs = new Map<Backend, Lab>()

  beforeAll(async () => {
    const built = await Promise.all(backends.map(() => createLab(casePlan)))
    backends.forEach((backend, i) => labs.set(backend, built[i] as Lab))
  })
  afterAll(async () => {
    await Promise.all([...labs.values()].map((lab) => lab.stop()))
  })

  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const walks = [...labs].map(async ([backend, lab]) => [backend, await walk(lab, one, backend)] as const)
    const wanted = backends.map((backend) => [backend, one.packets] as const)
    expect(await Promise.all(walks)).toEqual(wanted)
  })

  // Last: it leaves the labs without rules.
  test('the kernel takes the rules of every case', async () => {
    const loads = [...labs].map(async ([backend, lab]) => {
      const dir = await writeRulesets()
      const { stdout, stderr } = await lab.exec('pve', ['sh', '-c', loadEach, backend], { cwd: dir })
      await removeTree(dir)
      return stdout + stderr
    })
    expect(await Promise.all(loads)).toEqual(['', ''])
  })
})
