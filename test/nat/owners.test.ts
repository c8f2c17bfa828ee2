// Names of sets are hashes, and hashes can be made to collide: a guest that does so must meet only its own sets.
import { expect, test } from 'vitest'
import { plainGuest, run, type HostileGuest } from '../hostile/node.ts'

const SET = '[IPSET partners]\n198.51.100.1\n198.51.100.2\n'
const rules = (port: number) =>
  `[RULES]\nIN HTTP(ACCEPT) -source +partners # NAT ${port}\nIN SSH(ACCEPT) -source 192.0.2.1,192.0.2.3 # NAT ${port + 1}\nOUT ACCEPT -dest 192.0.2.1,192.0.2.3 # NAT\n`
const guest = (vmid: number): HostileGuest =>
  plainGuest(vmid, `[OPTIONS]\nenable: 1\n${SET}${rules(2 * vmid + 10_000)}`)

test('no set of the kernel is shared by guests, or by a guest and the datacenter', () => {
  const cluster = `[OPTIONS]\nenable: 1\n${SET}${rules(9000).replaceAll(' # NAT 9', ' -dest 10.10.9.9 # NAT 9')}`
  const { ruleset, translation } = run({ cluster, host: '', guests: [guest(105), guest(106)] }).outcome
  expect(translation.rules.map(({ state }) => state)).toEqual(Array(9).fill('active'))
  const owners = new Map<string, Set<string>>()
  for (const { rules: own } of ruleset.chains[4])
    for (const { source, destination, serves = '' } of own)
      for (const set of [source?.set, destination?.set])
        if (set) owners.set(set.name, (owners.get(set.name) ?? new Set()).add(serves.split('-')[0] ?? ''))
  expect(owners.size).toBeGreaterThanOrEqual(6)
  for (const [name, all] of owners) expect([name, all.size]).toEqual([name, 1])
  expect([...owners.keys()].filter((name) => name.startsWith('pvenat-105-')).length).toBe(2)
})
