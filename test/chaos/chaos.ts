/** A number of random steps in a world, and what became of connections and of other people's rules meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  dockerDown,
  dockerUp,
  holdLock,
  ifreload,
  now,
  PVEFW_LOCK,
  readParts,
  tamper,
  TAMPERINGS,
  waitFor,
  XTABLES_LOCK,
  type Gap,
  type LostStream,
  type Tampering,
} from '../lab/index.ts'
import type { Random } from './random.ts'
import { EDITS, restoreSaved, type World } from './world.ts'

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

export interface Report {
  steps: Step[]
  asked: number
  /** Gaps in the service of untouched forwards that no step explains. */
  unexplained: Gap[]
  /** For each step that breaks: milliseconds from the act to the first connection that worked. */
  outages: { step: string; ms: number }[]
  /** For each step: milliseconds from the act until everything of ours was in force again. */
  repairs: { step: string; ms: number }[]
  lost: LostStream[]
  /** Streams lost in a step that takes the zone or forwarding away, which no repair can undo for sure. */
  lostInBreach: LostStream[]
  worstStallMs: number
  cycles: number
  failedCycles: string[]
}

interface Act {
  name: string
  breaks: Tampering['breaks']
  go: () => Promise<unknown>
}

/** A step waits this long for its repair; what takes longer is reported as never. */
const PATIENCE_MS = 8000
/** An answer that fails may belong to a packet that was sent this long after it was asked for. */
const BLUR_MS = 100

export class Chaos {
  private readonly steps: Step[] = []
  private edit = 0
  private isDocker = false

  constructor(
    private readonly world: World,
    private readonly random: Random,
  ) {}

  /** The acts are dealt like cards, so that few steps see many kinds. */
  async run(count: number): Promise<void> {
    let deck: (() => Act)[] = []
    for (let i = 0; i < count; i++) {
      if (deck.length === 0) deck = this.shuffled(this.deck())
      const card = deck.pop()
      if (card) await this.step(card())
    }
    await this.step(this.restore())
  }

  report(): Report {
    const { watcher, firewall } = this.world
    const gaps = watcher.gaps()
    const stepOf = (atMs: number) => this.stepOf(atMs)
    const outages = this.steps
      .filter(({ breaks }) => breaks !== 'nothing')
      .map((step) => {
        const own = gaps.filter((gap) => stepOf(gap.fromMs) === step)
        return { step: step.name, ms: Math.max(0, ...own.map(({ toMs }) => toMs - step.actedMs)) }
      })
    const isInBreach = ({ atMs, openedMs }: LostStream) =>
      [atMs, openedMs].some((one) => stepOf(one)?.breaks === 'standing')
    return {
      steps: this.steps,
      asked: watcher.count,
      unexplained: gaps.filter((gap) => (stepOf(gap.fromMs)?.breaks ?? 'nothing') === 'nothing'),
      outages,
      repairs: this.steps.map(({ name, actedMs, repairedMs = Infinity }) => ({
        step: name,
        ms: repairedMs - actedMs,
      })),
      lost: watcher.lost.filter((one) => !isInBreach(one)),
      lostInBreach: watcher.lost.filter(isInBreach),
      worstStallMs: watcher.worstStallMs,
      cycles: firewall.cycles,
      failedCycles: firewall.failures,
    }
  }

  /** The step that explains what happened to a packet at a time. */
  private stepOf(atMs: number): Step | undefined {
    return [...this.steps]
      .reverse()
      .find(({ startMs, repairedMs = Infinity }) => atMs >= startMs - BLUR_MS && atMs <= repairedMs + BLUR_MS)
  }

  private deck(): (() => Act)[] {
    const { world, random } = this
    const tampering = (): Act => this.tampering()
    const cycle = (): Act => ({
      ...{ name: 'a cycle of pve-firewall', breaks: 'nothing' },
      go: () => world.firewall.cycle(),
    })
    const edit = (): Act => ({ name: 'an edit', breaks: 'nothing', go: () => this.editOnce() })
    return [
      ...Array<() => Act>(7).fill(tampering),
      ...[cycle, edit, edit],
      () => this.both(edit(), tampering()),
      () => this.both(edit(), cycle()),
      () => this.both(cycle(), tampering()),
      () => this.kill(),
      () => this.unmount(),
      () => this.restore(),
      () => this.docker(),
      () => this.lock(random.pick([PVEFW_LOCK, XTABLES_LOCK])),
      () => ({
        ...{ name: 'an ifreload', breaks: 'nothing' },
        go: () => tamper(world.lab, world.backend, ifreload),
      }),
    ]
  }

  private tampering(): Act {
    const { lab, backend } = this.world
    const [name, { script, breaks }] = this.random.pick(Object.entries(TAMPERINGS))
    return { name, breaks, go: () => tamper(lab, backend, `${script}\ntrue`) }
  }

  private async editOnce(): Promise<void> {
    this.edit = this.random.below(EDITS.length)
    await this.world.edit(this.edit)
  }

  private both(one: Act, other: Act): Act {
    return {
      name: `${one.name} and ${other.name}`,
      breaks: other.breaks,
      go: () => Promise.all([one.go(), other.go()]),
    }
  }

  /** At a random moment of its work; what it was about to do is done by the next one. */
  private kill(): Act {
    const afterMs = this.random.below(300)
    return {
      ...{ name: `kill -9 ${afterMs} ms after an edit`, breaks: 'nothing' },
      go: async () => {
        await this.editOnce()
        await sleep(afterMs)
        await this.world.pvenat.service?.stop('SIGKILL')
        this.world.restart()
      },
    }
  }

  private unmount(): Act {
    return {
      ...{ name: '/etc/pve gone and back', breaks: 'nothing' },
      go: async () => {
        const { world } = this
        const service = world.pvenat.service
        const from = service?.stdout.length ?? 0
        await world.mount(false)
        service?.signal('SIGHUP')
        await waitFor(() => service?.stdout.slice(from).includes('is not mounted'), {
          timeoutMs: PATIENCE_MS,
          what: 'the service to miss /etc/pve',
        }).finally(() => world.mount(true))
      },
    }
  }

  /** Docker comes, or goes. With its policy every new connection waits for the repair. */
  private docker(): Act {
    const { lab, backend } = this.world
    const isUp = this.isDocker
    this.isDocker = !isUp
    return {
      ...{ name: isUp ? 'Docker goes' : 'Docker comes', breaks: isUp ? 'nothing' : 'standing' },
      go: () => tamper(lab, backend, `${isUp ? dockerDown : dockerUp}\ntrue`),
    }
  }

  private lock(file: string): Act {
    const ms = this.random.below(4000)
    return {
      ...{ name: `${file} held for ${ms} ms`, breaks: 'nothing' },
      go: async () => {
        const holder = await holdLock(this.world.lab, file)
        await this.editOnce()
        await sleep(ms)
        await holder.stop('SIGKILL')
      },
    }
  }

  private restore(): Act {
    return {
      ...{ name: 'everything as it was, by a restore', breaks: 'standing' },
      go: () => this.asItWas(),
    }
  }

  private async asItWas(): Promise<void> {
    const { world } = this
    await world.lab.exec('pve', [
      'sh',
      '-c',
      `for s in $(ipset -n list | grep -v ^pvenat-); do ipset flush $s; done`,
    ])
    await restoreSaved(world)
    await refillSets(world)
    if (world.firewall.cycles % 2 === 1) await world.firewall.cycle() // even turns want what the fixture holds
    this.isDocker = false
  }

  private async step({ name, breaks, go }: Act): Promise<void> {
    const { lab, watcher, own } = this.world
    const step: Step = { name, breaks, startMs: now(), actedMs: 0, repairedMs: undefined, harmed: [] }
    this.steps.push(step)
    await go()
    step.actedMs = now()
    const wanted = own[this.isDocker ? 'docker' : 'alone'][this.edit] ?? ''
    let parts = await readParts(lab)
    const { foreign } = parts
    while (parts.own !== wanted && now() - step.actedMs < PATIENCE_MS) parts = await readParts(lab)
    if (parts.own === wanted) step.repairedMs = now()
    else step.harmed.push(...differences(wanted, parts.own).map((line) => `ours: ${line}`))
    step.harmed.push(...differences(foreign, parts.foreign).map((line) => `theirs: ${line}`))
    if (step.repairedMs !== undefined) await watcher.isWell()
  }

  private shuffled<T>(list: T[]): T[] {
    return list
      .map((one) => ({ one, key: this.random.below(1 << 30) }))
      .sort((a, b) => a.key - b.key)
      .map(({ one }) => one)
  }
}

/** Members that a flush took; what is there already stays. */
async function refillSets({ lab, before }: World): Promise<void> {
  const lines = before.split('\n').filter((line) => /^(create|add) /.test(line))
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

export function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
