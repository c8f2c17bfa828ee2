/** What others do to a node, done to the fake kernel. */
import type { Family } from '../../src/address.ts'
import { EMPTY_PLAN } from '../../src/ruleset/plan.ts'
import type { TamperingName } from '../lab/neighbour.ts'
import type { FakeKernel } from '../ruleset/kernel.ts'
import { withOthers } from './every.ts'
import type { InjectedKernel } from './injected.ts'

type Act = (kernel: InjectedKernel) => void

const BUILT_IN = / (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/
const FAMILIES = [4, 6] as const
const SELF_SET = /^pvenat-self-0-.*-v4$/

/** What each of the tamperings of the lab comes to. */
export const TAMPERED: Record<TamperingName, Act> = {
  'flush of table nat': flush('nat'),
  'flush of table filter': flush('filter'),
  'flush of table raw': flush('raw'),
  'flush and removal of everything': ({ fake }) => {
    for (const table of ['raw', 'nat', 'filter']) flush(table)({ fake })
    for (const key of fake.chains.keys()) if (!BUILT_IN.test(key)) fake.chains.delete(key)
  },
  'an own chain flushed': v4('nat', '-F PVENAT-DNAT'),
  'an own chain removed': v4(
    'nat',
    '-D POSTROUTING -j PVENAT-POSTROUTING',
    '-F PVENAT-POSTROUTING',
    '-X PVENAT-POSTROUTING',
  ),
  'a rule put into an own chain': v4('nat', '-I PVENAT-DNAT 1 -j RETURN'),
  'a rule added to an own chain': v4('nat', '-A PVENAT-DNAT -j RETURN'),
  'a rule of ours deleted': deleteRule('4 nat PVENAT-POSTROUTING', 4),
  'the nat PREROUTING hook removed': v4('nat', '-D PREROUTING -j PVENAT-PREROUTING'),
  'the nat OUTPUT hook removed': v4('nat', '-D OUTPUT -j PVENAT-OUTPUT'),
  'the nat POSTROUTING hook removed': v4('nat', '-D POSTROUTING -j PVENAT-POSTROUTING'),
  'the FORWARD hook removed': v4('filter', '-D FORWARD -j PVENAT-FORWARD'),
  'the zone hook removed': v4('raw', '-D PREROUTING -j PVENAT-ZONE'),
  'the zone rule removed': deleteRule('4 raw PVENAT-ZONE', 1),
  'the nat hook pushed from first place': v4('nat', '-I PREROUTING 1 -d 192.0.2.99 -j ACCEPT'),
  'the FORWARD hook pushed from first place': v4('filter', '-I FORWARD 1 -d 192.0.2.99 -j ACCEPT'),
  'the zone hook pushed from first place': v4('raw', '-I PREROUTING 1 -d 192.0.2.99 -j ACCEPT'),
  'a hook doubled': v4('nat', '-A PREROUTING -j PVENAT-PREROUTING'),
  'a set flushed': ({ fake }) => selfSet(fake).splice(1),
  'all sets flushed': ({ fake }) => [...fake.sets.values()].forEach((set) => set.splice(1)),
  'a member of a set deleted': ({ fake }) => removeMember(fake),
  'a member put into a set': ({ fake }) => selfSet(fake).push('10.10.10.108,tcp:9'),
  'a member of a set exchanged': ({ fake }) => {
    removeMember(fake)
    selfSet(fake).push('10.10.10.108,tcp:9')
  },
  'a set destroyed with the rule that used it': (kernel) => {
    v4('nat', '-F PVENAT-PREROUTING')(kernel)
    const staleSets = [...kernel.fake.sets.keys()].filter((name) => SELF_SET.test(name))
    kernel.fake.write({ ...EMPTY_PLAN, staleSets })
  },
  'ip_forward switched off': ({ sysctls }) => sysctls.set('net/ipv4/ip_forward', '0'),
  'the loop interfaces deleted': withoutLoop,
  'a loop interface taken down': withoutLoop,
  'a route of the loop deleted': withoutLoop,
  'everything saved and restored': ({ fake }) => {
    for (const [key, rules] of fake.chains) fake.chains.set(key, [...rules])
  },
  'everything saved and restored without ours': ({ fake }) => removeOwn(fake, [4]),
}

/** pve-firewall's chain is put behind what is in FORWARD, and changes from cycle to cycle. */
export function cycle({ fake: { chains } }: InjectedKernel): void {
  for (const family of FAMILIES) {
    const own = `${family} filter PVEFW-FORWARD`
    const isOdd = chains.get(own)?.length === 1
    chains.set(own, ['-j RETURN', ...(isOdd ? ['-j RETURN'] : [])])
    const forward = chains.get(`${family} filter FORWARD`)
    if (!forward?.includes('-j PVEFW-FORWARD')) forward?.push('-j PVEFW-FORWARD')
  }
}

/** Its own copy of the zone rule comes and goes. */
export const ifreload: Act = v4(
  'raw',
  '-I PREROUTING 1 -i fwbr+ -j CT --zone 1',
  '-D PREROUTING -i fwbr+ -j CT --zone 1',
)

const DOCKER = /DOCKER|docker0/

export function docker(comes: boolean): Act {
  return (kernel) => {
    const { chains, drops } = kernel.fake
    for (const family of FAMILIES) if (comes) drops.add(family)
    if (comes) {
      v4('filter', ':DOCKER-USER - [0:0]', '-A DOCKER-USER -j RETURN', '-I FORWARD 1 -j DOCKER-USER')(kernel)
      v4(
        'nat',
        ':DOCKER - [0:0]',
        '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
        '-I POSTROUTING 1 -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
      )(kernel)
      return
    }
    drops.clear()
    for (const [key, rules] of chains) {
      if (DOCKER.test(key)) chains.delete(key)
      else chains.set(key, without(rules, DOCKER))
    }
  }
}

/** Everybody else's rules as they were before we came, over everything that there is; foreign sets are filled again. */
export function restore({ fake }: InjectedKernel): void {
  const { fake: before } = withOthers()
  removeOwn(fake, FAMILIES)
  for (const key of fake.chains.keys()) if (!before.chains.has(key)) fake.chains.delete(key)
  for (const [key, rules] of before.chains) fake.chains.set(key, rules)
  for (const [name, set] of before.sets) fake.sets.set(name, set)
  fake.drops.clear()
}

function v4(table: string, ...lines: string[]): (kernel: Pick<InjectedKernel, 'fake'>) => void {
  return ({ fake }) => fake.restore(4, [`*${table}`, ...lines, 'COMMIT'].join('\n'))
}

function flush(table: string): (kernel: Pick<InjectedKernel, 'fake'>) => void {
  return ({ fake: { chains } }) => {
    for (const key of chains.keys()) if (key.split(' ')[1] === table) chains.set(key, [])
  }
}

function deleteRule(key: string, place: number): Act {
  return ({ fake }) => {
    if (fake.chains.get(key)?.splice(place - 1, 1).length !== 1) throw new Error(`no rule ${place} in ${key}`)
  }
}

function removeMember(fake: FakeKernel): void {
  const set = selfSet(fake)
  const at = set.indexOf('10.10.10.108,tcp:8080')
  if (at < 1) throw new Error('no such member')
  set.splice(at, 1)
}

function selfSet({ sets }: FakeKernel): string[] {
  const set = [...sets].find(([name]) => SELF_SET.test(name))
  if (!set) throw new Error('no such set')
  return set[1]
}

function withoutLoop(kernel: InjectedKernel): void {
  kernel.isLoopThere = false
}

function removeOwn({ chains }: FakeKernel, families: readonly Family[]): void {
  for (const [key, rules] of chains) {
    if (!families.some((family) => key.startsWith(`${family} `))) continue
    if (key.includes(' PVENAT-')) chains.delete(key)
    else chains.set(key, without(rules, /PVENAT-/))
  }
}

function without(rules: readonly string[], pattern: RegExp): string[] {
  return rules.filter((rule) => !pattern.test(rule))
}
