/** The strict fake kernel behind the port that `apply` uses, with a failure at one chosen call, once or from then on. */
import { formatRange, type Family } from '../../src/address.ts'
import type { FlowFilter } from '../../src/nat/flows.ts'
import type { Kernel } from '../../src/node/kernel.ts'
import type { Installed } from '../../src/ruleset/installed.ts'
import { EMPTY_PLAN, type Plan } from '../../src/ruleset/plan.ts'
import { NO_ROUTING_PLAN, type RoutingPlan } from '../../src/ruleset/routing.ts'
import { FakeKernel } from '../ruleset/kernel.ts'

export class Injected extends Error {}

/** `dies`: the call never returns and nothing more is done, as after kill -9. `fails`: only this one call does not work. */
export type Mode = 'fails' | 'dies'

export class InjectedKernel implements Kernel {
  /** What was called, in order. */
  readonly calls: string[] = []
  readonly sysctls = new Map([
    ['net/ipv4/ip_forward', '0'],
    ['net/ipv6/conf/all/forwarding', '0'],
    ['net/ipv6/conf/vmbr0/accept_ra', '1'],
  ])
  isLoopThere = false
  isZoneThere = false
  /** What conntrack knows, as it prints it. */
  flowLines: string[] = []
  /** Resolves when the chosen call has come, of one that dies. */
  readonly died: Promise<Injected>
  private die: (death: Injected) => void = () => undefined

  constructor(
    readonly fake: FakeKernel,
    private readonly failAt = Infinity,
    private readonly mode: Mode = 'fails',
  ) {
    this.died = new Promise((resolve) => (this.die = resolve))
  }

  read = (): Promise<Installed> => this.call('read', () => this.fake.read())

  openTrial = (): Promise<undefined> => this.call('open a trial', () => undefined)

  /** As the real one: `ipset restore` works line by line, a restore of rules table by table, each whole or not at all. */
  write = async ({ sets, tables, staleSets, routing }: Plan): Promise<number> => {
    await this.route(routing, 'before')
    for (const line of sets.split('\n').filter((one) => one !== ''))
      await this.call(`ipset ${line}`, () => this.put({ sets: `${line}\n` }))
    for (const family of [4, 6] as const) {
      for (const text of tables[family].split(/^(?=\*)/m).filter((one) => one !== ''))
        await this.call(`IPv${family} ${text.split('\n', 1)[0]}`, () => this.fake.restore(family, text))
    }
    // The real one only warns of a set that cannot be destroyed.
    for (const name of staleSets)
      await this.call(`ipset destroy ${name}`, () => this.put({ staleSets: [name] })).catch(() => undefined)
    await this.route(routing, 'after')
    return 0
  }

  private async route(routing: Plan['routing'], when: keyof RoutingPlan): Promise<void> {
    for (const family of [4, 6] as const)
      for (const line of routing[family][when])
        await this.call(`ip ${line}`, () =>
          this.put({ routing: { ...EMPTY_PLAN.routing, [family]: only(when, line) } }),
        )
  }

  sysctl = (path: string): Promise<string | undefined> =>
    this.call(`read ${path}`, () => this.sysctls.get(path))

  setSysctl = (path: string, value: string): Promise<void> =>
    this.call(`set ${path}`, () => void this.sysctls.set(path, value))

  hasBridgeZone = (): Promise<boolean | undefined> =>
    this.call('look for the zone on bridges', () => this.isZoneThere)

  setBridgeZone = (isWanted: boolean): Promise<void> =>
    this.call('set the zone on bridges', () => void (this.isZoneThere = isWanted))

  hasLoop = (): Promise<boolean> => this.call('look for the loop', () => this.isLoopThere)

  setLoop = (families: readonly Family[]): Promise<void> => {
    const wanted = families.length > 0
    return this.call(wanted ? 'make the loop' : 'remove the loop', () => void (this.isLoopThere = wanted))
  }

  flows = (family: Family, proto: string): Promise<string> =>
    this.call(`list ${proto} flows of IPv${family}`, () =>
      this.flowLines
        .filter((line) => line.startsWith(`${proto} `) && line.includes(':') === (family === 6))
        .join('\n'),
    )

  /** As the real one: it says nothing of flows that cannot be ended. */
  endFlows = ({ proto, destination, replySource, dport }: FlowFilter): Promise<number> =>
    this.call(`end the flows to ${proto} ${dport ?? 'any port'}`, () => {
      const to = ` dst=${formatRange(destination)} sport=\\d+ dport=${dport ?? '\\d+'}`
      const chosen = new RegExp(`^${proto} .*${to} src=${formatRange(replySource)} `)
      const before = this.flowLines.length
      this.flowLines = this.flowLines.filter((line) => !chosen.test(line))
      return before - this.flowLines.length
    }).catch(() => 0)

  private call<T>(what: string, work: () => T): Promise<T> {
    const at = this.calls.push(what) - 1
    if (at < this.failAt || (at > this.failAt && this.mode === 'fails')) return Promise.resolve().then(work)
    if (this.mode === 'fails') return Promise.reject(new Injected(what))
    this.die(new Injected(what))
    return new Promise<never>(() => undefined)
  }

  private put(part: Partial<Plan>): void {
    this.fake.write({ ...EMPTY_PLAN, ...part })
  }
}

function only(when: keyof RoutingPlan, line: string): RoutingPlan {
  return { ...NO_ROUTING_PLAN, [when]: [line] }
}

export function copyOf(kernel: FakeKernel): FakeKernel {
  const copy = new FakeKernel()
  for (const family of kernel.drops) copy.drops.add(family)
  for (const [to, from] of [
    [copy.chains, kernel.chains],
    [copy.sets, kernel.sets],
    [copy.routing, kernel.routing],
  ] as const) {
    to.clear()
    for (const [name, lines] of from) to.set(name, [...lines])
  }
  return copy
}
