/** A failure at every single call of an apply in turn, each followed by a clean apply. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { apply, type Due } from '../../src/node/apply.ts'
import { endStaleFlows } from '../../src/node/conntrack.ts'
import { readState } from '../../src/node/state.ts'
import { makeCompiler } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { kernelFacts } from '../../src/ruleset/installed.ts'
import { isEmpty, makePlan } from '../../src/ruleset/plan.ts'
import { FakeKernel } from '../ruleset/kernel.ts'
import type { Fate, Packet } from '../tracer/tracer.ts'
import { isLike, place, told } from './fates.ts'
import { copyOf, Injected, InjectedKernel, type Mode } from './injected.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pvenat-inject-'))
afterAll(() => rmSync(scratch, { recursive: true }))
let last = 0

/** A state directory of its own, with what is in another one; `used` may be one to take for it. */
export function stateDirLike(other?: string, used?: string): string {
  const dir = used ?? join(scratch, `${++last}`)
  const [from, to] = [other ?? dir, dir].map((one) => join(one, 'state.json')) as [string, string]
  mkdirSync(dir, { recursive: true })
  if (existsSync(from)) copyFileSync(from, to)
  else rmSync(to, { force: true })
  return dir
}

/** A kernel in which others have rules and sets, in the tables and chains that we use. */
export function withOthers(): InjectedKernel {
  const fake = new FakeKernel()
  for (const family of [4, 6]) {
    for (const chain of ['raw PREROUTING', 'nat PREROUTING', 'nat POSTROUTING', 'filter FORWARD'])
      fake.chains.set(`${family} ${chain}`, ['-s 192.0.2.77 -j FOREIGN'])
    fake.chains.set(`${family} nat FOREIGN`, ['-j RETURN'])
  }
  fake.sets.set('foreign', ['hash:ip family inet hashsize 64 maxelem 64', '192.0.2.78'])
  return new InjectedKernel(fake)
}

/** One pass and one round of stale flows; tells whether flows are to be looked at in the next one. */
export async function applyTo(
  kernel: InjectedKernel,
  one: Look,
  stateDir: string,
  due?: Due,
  compile = makeCompiler(),
): Promise<boolean> {
  const death = kernel.died.then((error) => Promise.reject(error))
  const pass = async (): Promise<boolean> => {
    const { flows, flowsDue } = await apply(one, kernel, stateDir, () => undefined, due, { compile })
    const { found, ended } = flows ? await endStaleFlows(kernel, flows) : { found: 0, ended: 0 }
    return flowsDue || ended < found
  }
  return Promise.race([pass(), death])
}

/** As `applyTo`, of which something does not work; then flows are due. */
export function failing(...args: Parameters<typeof applyTo>): Promise<boolean> {
  return applyTo(...args).catch((error: unknown) =>
    error instanceof Injected ? true : Promise.reject(error as Error),
  )
}

interface Start {
  kernel: InjectedKernel
  stateDir: string
  look: Look
  /** Of the first apply. */
  flowsDue?: boolean
  /** Whether a call fails or kills, by its number. */
  mode: (call: number) => Mode
  packets: readonly Packet[]
  fatesIn: (kernel: FakeKernel) => readonly Fate[]
  /** How the packets may fare on the way, but for how they do in the end. */
  fared: readonly (readonly Fate[])[]
  /** What conntrack must know in the end. */
  flows: readonly string[]
}

export interface End {
  /** After an apply without a failure. */
  kernel: InjectedKernel
  stateDir: string
  calls: string[]
  /** Packets that fared otherwise than they may. */
  wrong: string[]
}

export async function everyCall(start: Start): Promise<End> {
  const { look, fatesIn, mode, flows, flowsDue = false } = start
  const compile = makeCompiler()
  const stateDir = stateDirLike(start.stateDir)
  const clean = copyWith(start.kernel)
  await applyTo(clean, look, stateDir, dueOf(flowsDue), compile)
  const theirs = foreign(start.kernel.fake)
  const may = [...start.fared, fatesIn(clean.fake)]
  const { sysctls } = await remembered(stateDir)
  const wrong: string[] = []
  const dir = stateDirLike()
  for (let at = 0; at < clean.calls.length; at++) {
    const kernel = copyWith(start.kernel, at, mode(at))
    stateDirLike(start.stateDir, dir)
    const isDue = await failing(kernel, look, dir, dueOf(flowsDue), compile)
    const where = `call ${at} that ${mode(at)} (${clean.calls[at]})`
    wrong.push(...strange(start.packets, fatesIn(kernel.fake), may).map((line) => `${where}: ${line}`))
    expect(foreign(kernel.fake), where).toEqual(theirs)
    const again = copyWith(kernel)
    const due = mode(at) === 'dies' ? undefined : dueOf(isDue || flowsDue)
    await applyTo(again, look, dir, due, compile)
    const installed = again.fake.read()
    const { ruleset } = compile({ ...look, kernel: kernelFacts(installed) })
    const then = `${where}, then again`
    expect(again.flowLines, then).toEqual(flows)
    expect(isEmpty(makePlan(ruleset, installed)), then).toBe(true)
    expect(again.isLoopThere, then).toBe(ruleset.loop.length > 0)
    expect(again.sysctls, then).toEqual(clean.sysctls)
    expect((await remembered(dir)).sysctls, `${then}: what a rollback brings back`).toEqual(sysctls)
    expect(foreign(again.fake), then).toEqual(theirs)
  }
  return { kernel: clean, stateDir, calls: clean.calls, wrong }
}

function dueOf(areFlowsDue: boolean): Due {
  return { flows: areFlowsDue ? 'due' : 'waiting', quarantined: true }
}

function strange(
  packets: readonly Packet[],
  now: readonly Fate[],
  may: readonly (readonly Fate[])[],
): string[] {
  return now.flatMap((fate, i) => {
    if (may.some((fates) => isLike(fate, fates[i]))) return []
    return [`${told(packets[i])}: ${place(fate)}, not ${may.map((fates) => place(fates[i])).join(' or ')}`]
  })
}

function remembered(stateDir: string): ReturnType<typeof readState> {
  return readState(stateDir, (message) => {
    throw new Error(message)
  })
}

function foreign({ chains, sets, drops }: FakeKernel): unknown {
  const rules = [...chains]
    .filter(([key]) => !key.includes(' PVENAT-'))
    .map(([key, lines]) => [key, lines.filter((line) => !line.includes('-j PVENAT-'))])
  return [rules, [...sets].filter(([name]) => !name.startsWith('pvenat-')), [...drops]]
}

export function copyWith(kernel: InjectedKernel, failAt = Infinity, mode: Mode = 'fails'): InjectedKernel {
  const copy = new InjectedKernel(copyOf(kernel.fake), failAt, mode)
  copy.isLoopThere = kernel.isLoopThere
  copy.flowLines = [...kernel.flowLines]
  for (const [path, value] of kernel.sysctls) copy.sysctls.set(path, value)
  return copy
}
