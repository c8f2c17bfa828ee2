/** `import --switch`: the rules of the GUI on, the old ones out, and back again unless somebody confirms it. */
import { setTimeout as delay } from 'node:timers/promises'
import { createWords, ruleLine, type GuiRule } from '../import/guirule.ts'
import { findRule, inOrderOfCreation, rulesOf, switchable, type Imported } from '../import/trial.ts'
import { CommandFailed, must } from '../node/exec.ts'
import { lookKnowing } from '../node/recall.ts'
import { unconfirmedPid } from '../node/unconfirmed.ts'
import { isServiceRunning } from '../node/unit.ts'
import { compile, type Outcome } from '../pipeline.ts'
import { kernelFacts } from '../ruleset/installed.ts'
import { isEmpty, makePlan } from '../ruleset/plan.ts'
import { printable } from '../show/diagnostics.ts'
import { askWithin, hearSignals } from './ask.ts'
import { kernelOf, type Context } from './context.ts'
import { importable } from './importable.ts'
import { inTurn, takeOut } from './take-out.ts'

/** Returns the exit code. Whatever fails, what was changed so far is taken back. */
export async function switchOver(context: Context, seconds: number): Promise<number> {
  const { io, paths } = context
  if ((await unconfirmedPid(paths.runDir)) !== undefined)
    throw new Error('another change waits for its confirmation')
  if (!(await isServiceRunning(paths.runDir)))
    throw new Error('the service puts the rules into force; start it first: systemctl start pvenat')
  const { all } = await importable(paths)
  const chosen = switchable(all)
  const rules = rulesOf(chosen)
  if (rules.length === 0) {
    io.stderr('pvenat: no rule that is in force can be switched over; see pvenat import\n')
    return 1
  }
  const stopped = hearSignals()
  const undo: (() => Promise<unknown>)[] = []
  try {
    // What was on before stays on.
    const off = rulesOf(chosen.filter(({ tried }) => tried?.there?.isOn !== true))
    undo.push(() => switchOff(context, off))
    await switchOn(chosen)
    await waitInForce(context, rules)
    await takeOut(chosen, undo)
    io.stdout(`${rules.length} rules are on, and what they replace is out\n`)
    const answer = await askWithin(seconds, io, paths.runDir, stopped)
    if (answer === 'kept') {
      io.stdout(leftToDo(chosen))
      return 0
    }
    io.stderr(await takeBack(context, undo, answer))
    return 1
  } catch (error) {
    io.stderr(await takeBack(context, undo, 'the change failed'))
    throw error
  }
}

/**
 * Runs `undo`, the last step first, and gives what is to be said of it. The old rules come back before those of the GUI go off: where
 * that fails the latter stay on, and packets are translated as before. `why`: an answer.
 */
async function takeBack(
  context: Context,
  undo: readonly (() => Promise<unknown>)[],
  why: string,
): Promise<string> {
  try {
    for (const step of [...undo].reverse()) await step()
    await waitInForce(context, [])
    return `${why}; what was in force before is in force again\n`
  } catch (error) {
    return `${why}; not all of it could be taken back; see pvenat import and pvenat status:\n  ${(error as Error).message}\n`
  }
}

async function switchOn(chosen: readonly Imported[]): Promise<void> {
  // A new rule moves those below it: first the rules that are there.
  for (const { becomes, tried } of chosen)
    if ('rule' in becomes && tried?.there?.isOn === false)
      await must('pvesh', ['set', `${becomes.rule.api}/${tried.there.position}`, '--enable', '1'])
  for (const rule of inOrderOfCreation(chosen)) await must('pvesh', createWords(rule, 1))
}

/** Tries each rule; throws when one of them stays on. */
async function switchOff({ paths }: Context, rules: readonly GuiRule[]): Promise<void> {
  const { view } = compile(await lookKnowing(paths))
  const steps = rules.map((rule) => async () => {
    const there = findRule(rule, view)
    if (!there?.isOn) return
    await must('pvesh', ['set', `${rule.api}/${there.position}`, '--enable', '0']).catch(
      ({ message }: Error) => {
        throw new Error(`${ruleLine(rule)} of ${rule.file} is still on: ${message}`)
      },
    )
  })
  await inTurn(steps)
}

const WAIT_MS = 15_000
const LOOK_MS = 200

/** Until the service has put all that is wanted into force; throws if one of the rules is not part of it. */
async function waitInForce(context: Context, rules: readonly GuiRule[]): Promise<void> {
  const deadline = performance.now() + WAIT_MS
  for (;;) {
    const missing = await missingOf(context, rules).catch((error: unknown) => {
      // The service writes at the same time: a set may go between its listing and its reading.
      if (error instanceof CommandFailed) return [error.message]
      throw error
    })
    if (missing.length === 0) return
    if (performance.now() > deadline) throw new Error(missing[0])
    await delay(LOOK_MS)
  }
}

/** Why the kernel does not hold all that is wanted, or some of the rules are not part of it. */
async function missingOf(context: Context, rules: readonly GuiRule[]): Promise<string[]> {
  const looked = await lookKnowing(context.paths)
  const installed = await (await kernelOf(looked, context)).read()
  const outcome = compile({ ...looked, kernel: kernelFacts(installed) })
  const failing = rules.flatMap((rule) => whyNot(rule, outcome))
  const isAll = isEmpty(makePlan(outcome.ruleset, installed))
  return isAll ? failing : [...failing, 'the kernel does not hold what the files ask for']
}

function whyNot(rule: GuiRule, { view, translation }: Outcome): string[] {
  const line = findRule(rule, view)?.line
  const nat = translation.rules.find(({ place }) => place.file === rule.file && place.span.line === line)
  return nat?.state === 'active' ? [] : [`${ruleLine(rule)}: ${nat?.reason ?? 'it is not there'}`]
}

/** The lines that would make the old rules again. */
function leftToDo(chosen: readonly Imported[]): string {
  const lines = chosen.flatMap(({ written: { boot } }) =>
    boot ? [`  ${boot.file}:${boot.line}: ${boot.text}\n`] : [],
  )
  const chains = chosen.flatMap(({ written: { loaded } }) =>
    loaded && 'native' in loaded
      ? [`  ${printable(`${loaded.native.family} ${loaded.native.table} ${loaded.native.chain}`)}\n`]
      : [],
  )
  return [
    told(
      'these lines would make the old rules again; take them out, and the post-down lines beside them',
      lines,
    ),
    told(
      'the file that loads these chains of nft would make the old rules again; take them out there',
      chains,
    ),
  ].join('')
}

function told(sentence: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `at the next boot ${sentence}:\n${[...new Set(lines)].join('')}`
}
