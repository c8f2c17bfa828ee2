/** The strict fake kernel behind the port that `apply` uses, with a failure at one chosen call, once or from then on. */
import type { Family } from '../../src/address.ts'
import type { Kernel } from '../../src/node/kernel.ts'
import type { InForce } from '../../src/ruleset/inforce.ts'
import type { Plan } from '../../src/ruleset/plan.ts'
import { FakeKernel } from '../ruleset/kernel.ts'

export class Injected extends Error {}

/** `dies`: nothing more is done, as after kill -9. `fails`: only this one call does not work. */
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

  constructor(
    readonly fake: FakeKernel,
    private readonly failAt = Infinity,
    private readonly mode: Mode = 'fails',
  ) {}

  read = (): Promise<InForce> => this.call('read', () => this.fake.read())

  preflight = (): Promise<'taken'> => this.call('preflight', () => 'taken' as const)

  /** As the real one: `ipset restore` works line by line, a restore of rules table by table, each whole or not at all. */
  write = async ({ sets, tables, staleSets }: Plan): Promise<void> => {
    for (const line of sets.split('\n').filter((one) => one !== ''))
      await this.call(`ipset ${line}`, () => this.put({ sets: `${line}\n` }))
    for (const family of [4, 6] as const) {
      for (const text of tables[family].split(/^(?=\*)/m).filter((one) => one !== ''))
        await this.call(`IPv${family} ${text.split('\n', 1)[0]}`, () => this.fake.restore(family, text))
    }
    // The real one only warns of a set that cannot be destroyed.
    for (const name of staleSets)
      await this.call(`ipset destroy ${name}`, () => this.put({ staleSets: [name] })).catch((error) =>
        this.mode === 'dies' ? Promise.reject(error as Error) : undefined,
      )
  }

  sysctl = (path: string): Promise<string | undefined> =>
    this.call(`read ${path}`, () => this.sysctls.get(path))

  setSysctl = (path: string, value: string): Promise<void> =>
    this.call(`set ${path}`, () => void this.sysctls.set(path, value))

  hasLoop = (): Promise<boolean> => this.call('look for the loop', () => this.isLoopThere)

  setLoop = (families: readonly Family[]): Promise<void> => {
    const wanted = families.length > 0
    return this.call(wanted ? 'make the loop' : 'remove the loop', () => void (this.isLoopThere = wanted))
  }

  /** Any call that is part of an apply and not of this port. */
  call<T>(what: string, work: () => T): Promise<T> {
    const at = this.calls.push(what) - 1
    const isRefused = this.mode === 'dies' ? at >= this.failAt : at === this.failAt
    return isRefused ? Promise.reject(new Injected(what)) : Promise.resolve().then(work)
  }

  private put(part: Partial<Plan>): void {
    this.fake.write({ sets: '', tables: { 4: '', 6: '' }, staleSets: [], changes: [], ...part })
  }
}

export function copyOf(kernel: FakeKernel): FakeKernel {
  const copy = new FakeKernel()
  for (const [to, from] of [
    [copy.chains, kernel.chains],
    [copy.sets, kernel.sets],
  ] as const) {
    to.clear()
    for (const [name, lines] of from) to.set(name, [...lines])
  }
  return copy
}
