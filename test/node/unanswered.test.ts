// Flows of guests that wait untranslated end once after a pass, however many others there are.
import { expect, test } from 'vitest'
import { parseCidr, type Range } from '../../src/address.ts'
import { endAllStaleFlows, type Conntrack, type FlowWork } from '../../src/node/conntrack.ts'

const net = (text: string): Range => parseCidr(text) as Range
const NONE = { common: [], addresses: [] }
const work: FlowWork = {
  dispatch: { 4: NONE, 6: NONE },
  endpoints: [],
  inside: [net('10.10.10.0/24')],
  noHairpin: false,
  alsoTcp: false,
  leaving: [net('10.10.10.0/24')],
}

const line = (sport: number, seenAs: string): string =>
  `udp      17 29 src=10.10.10.105 dst=192.0.2.9 sport=${sport} dport=53 [UNREPLIED] src=192.0.2.9 dst=${seenAs} sport=53 dport=${sport} mark=0 use=1`

test('only UDP and TCP in its first state are asked for, of families that have rules', async () => {
  const asked: string[] = []
  const ended: (number | undefined)[] = []
  const translated = Array.from({ length: 5000 }, (_, i) => line(i + 1, '203.0.113.2'))
  const conntrack: Conntrack = {
    flows: (family, proto, state) => {
      asked.push([family, proto, state].join(' '))
      return Promise.resolve(proto === 'udp' ? [...translated, line(40_000, '10.10.10.105')].join('\n') : '')
    },
    endFlows: ({ sport }) => Promise.resolve(ended.push(sport)),
  }
  expect(await endAllStaleFlows(conntrack, work, () => true)).toBe(1)
  expect(asked).toEqual(['4 udp ', '4 tcp SYN_SENT'])
  expect(ended).toEqual([40_000])
})
