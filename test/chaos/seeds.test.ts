// The cards that a seed deals to the lab, played on the fake kernel, and after each an apply with a failure at every call in turn.
//   SEED=7 STEPS=1000 npx vitest run --project unit test/chaos/seeds.test.ts
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Look } from '../../src/read.ts'
import { node1Tree } from '../lab/tree.ts'
import { SEED } from '../seed.ts'
import type { Fate } from '../tracer/tracer.ts'
import { lookAt, NODE } from '../tracer/world.ts'
import { deal, KILL_WITHIN_MS, nameOf, type Card } from './deal.ts'
import { EDITS, withForward } from './edits.ts'
import { applyTo, copyWith, everyCall, failing, stateDirLike, withOthers } from './every.ts'
import { flowLine, isLike, onlooker, packetsTo } from './fates.ts'
import type { InjectedKernel, Mode } from './injected.ts'
import { cycle, docker, ifreload, restore, TAMPERED } from './tampered.ts'

const SEEDS = [SEED, SEED + 1]
const steps = Number(process.env['STEPS'] ?? 40)

const HOST_FW = `nodes/${NODE}/host.fw`
const text = (file: string): string => readFileSync(join(node1Tree, file), 'utf8')
const files = new Map([
  ...readdirSync(join(node1Tree, 'firewall')).map(
    (name) => [`firewall/${name}`, text(`firewall/${name}`)] as const,
  ),
  [HOST_FW, withForward(text('nodes/pve1/host.fw'))],
])
const LOOKS = EDITS.map((edit): Look => lookAt(new Map([...files, ['firewall/105.fw', edit]])))

const packets = packetsTo(
  [22, 80, 822, 1022, 1023, 2022, 3001, 8080, 13306, 15003, 17000],
  [1022, 8080, 15003],
)
const fatesIn = onlooker(LOOKS, packets)

/** Where UDP to these ports of the node leads with each edit; to the node itself where nothing is said. */
const MEDIA = { 15003: '10.10.10.108:5003' }
const UDP: readonly Record<number, string>[] = EDITS.map((_, edit) =>
  edit === 1 ? { ...MEDIA, 17000: '10.10.10.105:7000' } : MEDIA,
)
const PORTS = [15003, 17000, 9999]

class Game {
  calls = 0
  private kernel: InjectedKernel = withOthers()
  private stateDir = stateDirLike()
  private edit = 0
  /** Somebody was stopped in the midst of it. */
  private isHalfway = false

  /** Plays a card, lets all be repaired, and tells which packets fared otherwise than they may. */
  async play(card?: Card, nth = 0): Promise<string[]> {
    const [before, from] = [fatesIn(this.kernel.fake), UDP[this.edit]]
    this.isHalfway = false
    this.kernel.flowLines = card ? PORTS.map((port) => flowLine(port, from?.[port])) : []
    if (card) await this.act(card)
    const to = UDP[this.edit]
    const broken = this.whileBroken(before)
    const flows = this.kernel.flowLines.length > 0 ? PORTS.filter((port) => from?.[port] === to?.[port]) : []
    this.openWhileBroken()
    const end = await everyCall({
      kernel: this.kernel,
      stateDir: this.stateDir,
      look: this.look,
      packets,
      fatesIn,
      // A kill or a lock may have broken nothing.
      fared: this.isHalfway ? [before] : [before, ...broken],
      flows: flows.map((port) => flowLine(port, to?.[port])),
      flowsDue: this.isHalfway,
      mode: (at): Mode => (this.isHalfway || (at + nth) % 2 === 0 ? 'dies' : 'fails'),
    })
    this.kernel = copyWith(end.kernel)
    this.stateDir = end.stateDir
    this.calls += end.calls.length
    return end.wrong.map((line) => `after ${card ? nameOf(card) : 'the start'}: ${line}`)
  }

  private get look(): Look {
    return LOOKS[this.edit] as Look
  }

  private async act(card: Card): Promise<void> {
    switch (card.kind) {
      case 'edit':
        this.edit = card.index
        return
      case 'tampering':
        return void TAMPERED[card.tampering](this.kernel)
      case 'cycle':
        return cycle(this.kernel)
      case 'both':
        await this.act(card.one)
        return this.act(card.other)
      case 'kill':
        return this.stop(card.index, 'dies', (calls) => Math.floor((card.ms / KILL_WITHIN_MS) * calls.length))
      case 'hang':
        return this.act(card.act)
      case 'unmount':
        return // no look, so no apply
      case 'restore':
        return restore(this.kernel)
      case 'docker':
        return docker(card.comes)(this.kernel)
      case 'lock':
        // pve-firewall's lock is asked for before the first write, that of xtables with each table.
        return this.stop(card.index, 'fails', (calls) =>
          calls.findIndex((call) => (card.lock === 'xtables' ? /^IPv/ : /^(ipset|IPv)/).test(call)),
        )
      case 'ifreload':
        return ifreload(this.kernel)
    }
  }

  /** An edit of which the apply stops at one of its calls. */
  private async stop(index: number, mode: Mode, choose: (calls: readonly string[]) => number): Promise<void> {
    this.edit = index
    const trial = copyWith(this.kernel)
    await applyTo(trial, this.look, stateDirLike(this.stateDir))
    const at = choose(trial.calls)
    if (at < 0) return
    this.isHalfway = true
    this.kernel = copyWith(this.kernel, at, mode)
    await failing(this.kernel, this.look, this.stateDir)
  }

  /**
   * One thing is mended after the other. What somebody broke may be dropped meanwhile, and what is sent out may pass Docker's policy
   * as it would without it.
   */
  private whileBroken(before: readonly Fate[]): (readonly Fate[])[] {
    const broken = fatesIn(this.kernel.fake)
    const dropped = broken.map((fate, i): Fate =>
      isLike(fate, before[i]) ? fate : { ...fate, verdict: 'drop' },
    )
    const lenient = copyWith(this.kernel).fake
    lenient.drops.clear()
    return [broken, dropped, fatesIn(lenient)]
  }

  /** A client that sends while a forward is broken has its entry on a way that is wrong ever after. */
  private openWhileBroken(): void {
    const i = packets.findIndex(({ dport, source }) => dport === 15003 && source === '198.51.100.7')
    const fate = fatesIn(this.kernel.fake)[i]
    if (this.kernel.flowLines.length === 0 || fate?.verdict !== 'pass') return
    const to = `${fate.to}:${fate.port}`
    if (to !== MEDIA[15003]) this.kernel.flowLines.push(flowLine(15003, to, 40_001))
  }
}

describe(`${steps} cards of chaos on the fake kernel`, () => {
  const told: string[] = []
  afterAll(() => console.log(told.join('\n')))

  test.each(SEEDS)('SEED=%i', { timeout: 60_000 + steps * 3000 }, async (seed) => {
    const game = new Game()
    const start = performance.now()
    const cards = deal(seed, steps)
    expect(await game.play(), 'the start').toEqual([])
    for (const [nth, card] of cards.entries()) {
      const wrong = await game.play(card, nth)
      expect(wrong, `card ${nth}`).toEqual([])
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    told.push(`SEED=${seed}: ${cards.length} cards, ${game.calls} calls that failed, ${seconds} s`)
  })

  test('the same seed deals the same cards', () => {
    expect(deal(SEED, 100)).toEqual(deal(SEED, 100))
    expect(deal(SEED, 100).slice(0, 40)).toEqual(deal(SEED, 40).slice(0, 40))
  })
})
