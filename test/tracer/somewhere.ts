/** Sources and destinations at random, and the names that they may use. */
import fc from 'fast-check'
import type { Entry, Names } from './spec.ts'
import type { WorldGuest } from './world.ts'

const V4 = [
  '198.51.100.0/24',
  '198.51.100.7',
  '198.51.100.8/31',
  '192.0.2.0/24',
  '192.0.2.9',
  '203.0.113.0/24',
  '10.10.10.0/24',
  '10.10.10.104/29',
  '10.10.10.105',
  '10.20.20.0/24',
  '128.0.0.0/1',
]
const V6 = ['2001:db8:51::/64', '2001:db8:51::7', 'fd10::/64', 'fd10::105', '2001:db8::/32']
/** A rule in which both families meet is an error, so one of them is rare. */
const NETWORKS = [...V4, ...V4, ...V4, ...V6]

const LISTS = [
  '198.51.100.7,192.0.2.9',
  '198.51.100.0/24,10.10.10.0/24',
  '10.10.10.105,10.10.10.107,203.0.113.2',
  '198.51.100.7-198.51.100.8',
  '192.0.2.9-198.51.100.7',
  '10.10.10.105-10.10.10.107',
  '0.0.0.0/0',
  '2001:db8:51::7,2001:db8:51::8',
  'fd10::/64,2001:db8:113::1',
  'fd10::105-fd10::107',
]

const REFERENCES = ['office', 'dc/office', '+partners', '+dc/partners', '+others']
/** Every guest has these names of its own. */
const OWN_REFERENCES = ['guest/office', '+guest/partners']

/** Whose file it is; undefined for cluster.fw and host.fw. */
export type Owner = WorldGuest | undefined

export const anySource = (owner: Owner): fc.Arbitrary<string | undefined> =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constant(undefined) },
    { weight: 4, arbitrary: fc.constantFrom(...NETWORKS) },
    { weight: 2, arbitrary: fc.constantFrom(...LISTS) },
    { weight: 4, arbitrary: fc.constantFrom(...REFERENCES, ...(owner ? OWN_REFERENCES : [])) },
  )

const entries: fc.Arbitrary<Entry[]> = fc.uniqueArray(
  fc.record({
    text: fc.constantFrom(...V4, ...V6, 'office'),
    nomatch: fc.nat(2).map((n) => n === 2),
  }),
  { minLength: 1, maxLength: 5, selector: ({ text }) => text },
)

/** An alias in a set may say the same as an entry beside it, which is an error in Proxmox VE. */
export const names: fc.Arbitrary<Names> = fc
  .record({ office: fc.constantFrom(...NETWORKS), partners: entries, others: entries })
  .map(({ office, partners, others }) => {
    const distinct = (list: Entry[]): Entry[] => list.filter(({ text }) => text !== office)
    return { aliases: { office }, sets: { partners: distinct(partners), others: distinct(others) } }
  })
