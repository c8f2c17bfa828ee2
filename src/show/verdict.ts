/** Whether the node needs attention: the one judgement that `status`, the page's header and systemd's status line show. */
import { fileName, placeName } from '../diagnostic.ts'
import type { Translation } from '../nat/translate.ts'
import type { Located } from './diagnostics.ts'
import { NOT_RUNNING } from './silence.ts'

const LEVELS = ['OK', 'WARNING', 'CRITICAL'] as const
export type Level = (typeof LEVELS)[number]

/** The marked rules that are meant to work on this node: all but those that are switched off or meant for another node. */
export interface RuleSummary {
  asked: number
  /** Not in force, or not with all of its ports. */
  failing: number
  /** In force, but nothing, or not all that it names, gets through. */
  dead: number
  /** `105.fw:8: why`, of the first that do not work. */
  first: string[]
}

export interface Verdict {
  level: Level
  reasons: string[]
}

/** As much of the node as the user may see. */
export interface Seen {
  /** Undefined when the user may not know whether the service runs. */
  isRunning: boolean | undefined
  /** Whether the kernel was compared with the rules, by the service or by this user. */
  isCompared: boolean
}

interface Judged extends Seen {
  inStep: boolean
  degraded: string | null
  rules: RuleSummary
  /** Sentences. */
  troubles: readonly string[]
}

const MAX_REASONS = 3

/** CRITICAL: NAT is not what the rules ask for, or nobody keeps it so. WARNING: some rules do not work. */
export function judge({ inStep, degraded, rules, troubles, isRunning, isCompared }: Judged): Verdict {
  const { asked, failing, dead, first } = rules
  const broken = failing + dead
  const isOut = isCompared && !inStep
  const critical = [
    ...(isRunning === false ? [NOT_RUNNING] : []),
    ...(!isOut ? [] : [degraded ?? 'the kernel does not hold what the rules ask for: pvenat plan']),
    ...(asked > 0 && failing === asked ? ['no NAT rule is in force'] : []),
  ]
  const warnings = [
    ...(isRunning === undefined ? ['only root can see whether the service runs'] : []),
    ...(isCompared ? [] : ['it is not known whether the kernel is in sync with the rules']),
    ...(isOut || degraded === null ? [] : [degraded]),
    ...troubles,
    ...(broken > 0 ? [failingLine(asked, broken), ...first] : []),
    ...(broken > first.length ? [`and ${broken - first.length} more: pvenat check`] : []),
  ]
  const level = critical.length > 0 ? 'CRITICAL' : warnings.length > 0 ? 'WARNING' : 'OK'
  return { level, reasons: [...critical, ...warnings] }
}

function failingLine(asked: number, failing: number): string {
  return `${failing} of ${asked} NAT rules ${failing === 1 ? 'does' : 'do'} not work`
}

/** `WARNING: 2 of 9 NAT rules do not work; 105.fw:8: port 8006/tcp belongs to this node`. */
export function verdictLine({ level, reasons }: Verdict): string {
  return reasons.length === 0 ? level : `${level}: ${reasons.join('; ')}`
}

/** `9 NAT rules looked at, 2 of them cannot be applied`: the last line of `check` and `plan`. */
export function lookedAtLine({ asked, failing }: RuleSummary): string {
  const rules = `${asked} NAT rule${asked === 1 ? '' : 's'} looked at`
  if (failing === 0) return `${rules}${asked === 0 ? '' : ', all can be applied'}`
  return `${rules}, ${failing} of them cannot be applied`
}

/** Exit code of `status`, as monitoring programs read it. */
export function exitCodeOf(level: Level): number {
  return LEVELS.indexOf(level)
}

/** Lines that pve-firewall skips are rules that do not work, too. `foreseen`: as in Outcome. */
export function summarizeRules(
  { rules }: Pick<Translation, 'rules'>,
  located: readonly Located[],
  foreseen: ReadonlyMap<string, string> = new Map(),
): RuleSummary {
  const meant = rules.filter(({ isMeant }) => isMeant)
  const failing = [
    ...meant
      .filter(({ state, reason }) => state !== 'active' || reason !== '')
      .map(({ place, reason }) => `${placeName(place)}: ${reason}`),
    ...located
      .filter(({ code }) => code === 'line-skipped')
      .map(({ file, line, message }) => `${fileName(file)}:${line}: ${message}`),
  ]
  const skipped = located.filter(({ code }) => code === 'line-skipped').length
  const dead = meant.flatMap(({ id, reason, place }) => {
    const why = reason === '' ? foreseen.get(id) : undefined
    return why === undefined ? [] : [`${placeName(place)}: ${why}`]
  })
  return {
    asked: meant.length + skipped,
    failing: failing.length,
    dead: dead.length,
    first: [...failing, ...dead].slice(0, MAX_REASONS),
  }
}
