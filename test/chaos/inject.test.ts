// A failure at every single call of an apply in turn: no packet ever meets anything but the old or the new rules, nothing foreign is
// touched, and the next apply puts the rest right.
import { describe, expect, test } from 'vitest'
import type { Look } from '../../src/read.ts'
import { lookAt, NODE } from '../tracer/world.ts'
import { applyTo, everyCall, stateDirLike, withOthers } from './every.ts'
import { flowLine, onlooker, packetsTo } from './fates.ts'
import type { Mode } from './injected.ts'

const enabled = (...rules: string[]): string => `[OPTIONS]\nenable: 1\n[RULES]\n${rules.join('\n')}\n`
const look = (
  office: string[],
  guests: Record<number, string[]>,
  cluster = ['OUT ACCEPT -source 10.10.10.0/24 # NAT'],
): Look =>
  lookAt(
    new Map([
      ['firewall/cluster.fw', `${enabled(...cluster)}[IPSET office]\n${office.join('\n')}\n`],
      [`nodes/${NODE}/host.fw`, enabled()],
      ...Object.entries(guests).map(
        ([vmid, rules]) => [`firewall/${vmid}.fw`, enabled(...rules)] as [string, string],
      ),
    ]),
  )

const staying = 'IN HTTP(ACCEPT) # NAT 8080'
const LOOKS = {
  nothing: look([], {}, []),
  some: look(['198.51.100.7'], {
    105: ['IN SSH(ACCEPT) # NAT 1022', 'IN ACCEPT -p udp -dport 7000 # NAT 17000'],
    107: ['IN ACCEPT -p tcp -dport 22 -sport 822 # NAT', 'IN ACCEPT -p tcp -dport 3306 -sport 3306 # NAT'],
    108: [staying, 'IN ACCEPT -p tcp -dport 25 -source +office # NAT'],
  }),
  /** One forward leads to another port, one to another guest, one is gone, one is new, and a set has other members. */
  others: look(['198.51.100.8'], {
    105: ['IN ACCEPT -p udp -dport 53 # NAT 5353'],
    107: [
      'IN ACCEPT -p tcp -dport 23 -sport 822 # NAT',
      'IN SSH(ACCEPT) # NAT 1022',
      'IN ACCEPT -p udp -dport 7000 # NAT 17000',
    ],
    108: [staying, 'IN ACCEPT -p tcp -dport 25 -source +office # NAT'],
  }),
  /** Without the family of IPv6, without the loop and without any set. */
  few: look([], { 108: [staying, 'OUT ACCEPT # NAT'] }, []),
} satisfies Record<string, Look>

/** Where UDP to these ports of the node leads; to the node itself where nothing is said. */
const UDP: Record<keyof typeof LOOKS, Record<number, string>> = {
  nothing: {},
  some: { 17000: '10.10.10.105:7000' },
  others: { 17000: '10.10.10.107:7000', 5353: '10.10.10.105:53' },
  few: {},
}
const PORTS = [17000, 5353, 9999]

/** Those of ports that are or were ours go the new way or not at all; nobody touches the others. */
function rightFlows(from: keyof typeof LOOKS, to: keyof typeof LOOKS): string[] {
  return PORTS.filter((port) => UDP[from][port] === UDP[to][port]).map((port) =>
    flowLine(port, UDP[from][port]),
  )
}

const packets = packetsTo([22, 25, 822, 1022, 3306, 5353, 8080], [1022, 5353, 8080])
const fatesIn = onlooker(Object.values(LOOKS), packets)

const TRANSITIONS = [
  ['nothing', 'some'],
  ['some', 'others'],
  ['others', 'some'],
  ['some', 'few'],
  ['few', 'others'],
  ['some', 'nothing'],
] as const

describe.each(TRANSITIONS)('from %s to %s', { timeout: 60_000 }, (from, to) => {
  test.each<Mode>(['fails', 'dies'])('every call that %s', async (mode) => {
    const [kernel, stateDir] = [withOthers(), stateDirLike()]
    await applyTo(kernel, LOOKS[from], stateDir)
    kernel.flowLines = PORTS.map((port) => flowLine(port, UDP[from][port]))
    const { calls, wrong } = await everyCall({
      kernel,
      stateDir,
      look: LOOKS[to],
      packets,
      fatesIn,
      flows: rightFlows(from, to),
      mode: () => mode,
      fared: [fatesIn(kernel.fake)],
    })
    expect(calls.length).toBeGreaterThan(5)
    expect(wrong).toEqual([])
  })
})
