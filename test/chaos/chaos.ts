/** Cards of a deal played in a world, and what became of connections and of other people's rules meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  dockerDown,
  dockerUp,
  holdLock,
  ifreload,
  now,
  PVEFW_LOCK,
  tamper,
  TAMPERINGS,
  waitFor,
  XTABLES_LOCK,
  type Gap,
  type LostStream,
  type Tampering,
} from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { breaksOf, nameOf, type Card } from './deal.ts'
import type { World } from './world.ts'

export interface Step {
  name: string
  breaks: Tampering['breaks']
  startMs: number
  /** When the last harmful act was over. */
  actedMs: number
  /** When everything of ours was in force again; undefined if it never was. */
  repairedMs: number | undefined
  /** Differences in the rules of others that the step itself did not make. */
  harmed: string[]
}

export interface Took {
  what: string
  ms: number
}

export interface Report {
  steps: Step[]
  asked: number
  /** Gaps in the service of untouched forwards that no step explains. */
  unexplained: Gap[]
  /** For each step that breaks: milliseconds from the act to the first connection that worked. */
  outages: Took[]
  /** For each step: milliseconds from the act until everything of ours was in force again. */
  repairs: Took[]
  lost: LostStream[]
  /** Streams lost in a step that takes the zone or forwarding away, which no repair can undo for sure. */
  lostInBreach: LostStream[]
  worstStallMs: number
  cycles: number
  failedCycles: string[]
}

/** A step waits this long for its repair; what takes longer is reported as never. */
const PATIENCE_MS = 8000
/** A packet may be sent this long after it was asked for, and by then a step may have begun. */
const BLUR_MS = 100

export class Chaos {
  private readonly steps: Step[] = []
  private edit = 0
  private isDocker = false

  constructor(private readonly world: World) {}

  async run(cards: readonly Card[]): Promise<void> {
    for (const card of cards) await this.step(card)
  }

  report(): Report {
    const { watcher, firewall } = this.world
    const gaps = watcher.gaps()
    const stepOf = (atMs: number) => this.stepOf(atMs)
    const outages = this.steps
      .filter(({ breaks }) => breaks !== 'nothing')
      .map((step) => {
        const own = gaps.filter((gap) => stepOf(gap.fromMs) === step)
        return { what: step.name, ms: Math.max(0, ...own.map(({ toMs }) => toMs - step.actedMs)) }
      })
    const isInBreach = ({ atMs, openedMs }: LostStream) =>
      [atMs, openedMs].some((one) => stepOf(one)?.breaks === 'standing')
    return {
      steps: this.steps,
      asked: watcher.count,
      unexplained: gaps.filter((gap) => (stepOf(gap.fromMs)?.breaks ?? 'nothing') === 'nothing'),
      outages,
      repairs: this.steps.map(({ name, actedMs, repairedMs = Infinity }) => ({
        what: name,
        ms: repairedMs - actedMs,
      })),
      lost: watcher.lost.filter((one) => !isInBreach(one)),
      lostInBreach: watcher.lost.filter(isInBreach),
      worstStallMs: watcher.worstStallMs,
      cycles: firewall.cycles,
      failedCycles: firewall.failures,
    }
  }

  /** The step that explains what became of a packet that was asked for at a time: one that broke something, if there is any. */
  private stepOf(atMs: number): Step | undefined {
    const all = this.steps.filter(
      ({ startMs, repairedMs = Infinity }) => atMs >= startMs - BLUR_MS && atMs <= repairedMs,
    )
    return all.filter(({ breaks }) => breaks !== 'nothing').at(-1) ?? all.at(-1)
  }

  private play(card: Card): Promise<unknown> {
    const { world } = this
    const { lab, backend } = world.node
    switch (card.kind) {
      case 'edit':
        return this.editTo(card.index)
      case 'tampering':
        return tamper(lab, backend, `${TAMPERINGS[card.tampering].script}\ntrue`)
      case 'cycle':
        return world.firewall.cycle()
      case 'both':
        return Promise.all([this.play(card.one), this.play(card.other)])
      case 'kill':
        return this.kill(card.index, card.ms)
      case 'unmount':
        return this.unmount()
      case 'hang':
        return this.hang(card)
      case 'restore':
        return this.asItWas()
      case 'docker':
        this.isDocker = card.comes
        return tamper(lab, backend, `${card.comes ? dockerUp : dockerDown}\ntrue`)
      case 'lock':
        return this.locked(card.lock === 'xtables' ? XTABLES_LOCK : PVEFW_LOCK, card.index, card.ms)
      case 'ifreload':
        return tamper(lab, backend, ifreload)
    }
  }

  private async editTo(index: number): Promise<void> {
    this.edit = index
    await this.world.edit(index)
  }

  /** What it was about to do is done by the next one. */
  private async kill(index: number, afterMs: number): Promise<void> {
    await this.editTo(index)
    await sleep(afterMs)
    await this.world.node.pvenat.service?.stop('SIGKILL')
    this.world.node.pvenat.launch()
  }

  private async unmount(): Promise<void> {
    const { node } = this.world
    await node.hears()
    const said = node.listen()
    const mount = await node.unmount()
    node.pvenat.service?.signal('SIGHUP')
    await waitFor(() => said(/is not mounted/) > 0, {
      timeoutMs: PATIENCE_MS,
      what: 'the service to miss /etc/pve',
    }).finally(mount)
  }

  /** The repair comes while it hangs; until then the order stands. */
  private async hang({ half, act }: Extract<Card, { kind: 'hang' }>): Promise<void> {
    await this.world.pve.order({ hang: half ? '^firewall/107.fw$' : '' })
    await this.play(act)
  }

  private async locked(file: string, index: number, ms: number): Promise<void> {
    const holder = await holdLock(this.world.node.lab, file)
    await this.editTo(index)
    await sleep(ms)
    await holder.stop('SIGKILL')
  }

  private async asItWas(): Promise<void> {
    const { world } = this
    await world.node.sh('for s in $(ipset -n list | grep -v ^pvenat-); do ipset flush $s; done')
    await world.restoreSaved()
    await refillSets(world.node)
    if (world.firewall.cycles % 2 === 1) await world.firewall.cycle() // even turns want what the fixture holds
    this.isDocker = false
  }

  private async step(card: Card): Promise<void> {
    const { node, watcher, own } = this.world
    const [name, breaks] = [nameOf(card), breaksOf(card)]
    const step: Step = { name, breaks, startMs: now(), actedMs: 0, repairedMs: undefined, harmed: [] }
    this.steps.push(step)
    await this.play(card)
    step.actedMs = now()
    const wanted = own[this.isDocker ? 'docker' : 'alone'][this.edit] ?? ''
    let parts = await node.parts()
    const { foreign } = parts
    while (parts.own !== wanted && now() - step.actedMs < PATIENCE_MS) parts = await node.parts()
    if (parts.own === wanted) step.repairedMs = now()
    else step.harmed.push(...differences(wanted, parts.own).map((line) => `ours: ${line}`))
    step.harmed.push(...differences(foreign, parts.foreign).map((line) => `theirs: ${line}`))
    if (step.repairedMs !== undefined) await watcher.isWell()
    await this.world.pve.order({})
  }
}

/** Members that a flush took; what is there already stays. */
async function refillSets({ lab, untouched }: TestNode): Promise<void> {
  const lines = untouched.split('\n').filter((line) => /^(create|add) /.test(line))
  const commands = lines.map((line) => line.replace(/ bucketsize \d+/, ''))
  await lab.exec('pve', ['ipset', '-exist', 'restore'], { input: `${commands.join('\n')}\n` })
}

function differences(before: string, after: string): string[] {
  const [old, young] = [before.split('\n'), after.split('\n')]
  return [
    ...old.filter((line) => !young.includes(line)).map((line) => `- ${line}`),
    ...young.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ]
}

/** The median, and the worst with what it was. */
export function figures(took: readonly Took[]): string {
  const [worst] = [...took].sort((a, b) => b.ms - a.ms)
  const middle = median(took.map(({ ms }) => ms))
  return `median ${Math.round(middle)} ms, worst ${Math.round(worst?.ms ?? 0)} ms (${worst?.what})`
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
