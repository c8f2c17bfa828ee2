// Blocks of ports: no two guests have one, and every node of a cluster comes to the same.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { blocksOf, ownBlock } from '../../src/nat/port-blocks.ts'
import type { GuestSettings, Settings } from '../../src/settings.ts'
import { compile } from '../../src/pipeline.ts'
import { blockRows, renderBlocks } from '../../src/show/blocks.ts'
import { caseOf } from '../cases/case.ts'
import { worldOf } from '../cases/world.ts'

const settingsOf = (
  guestBlock: Settings['guestBlock'],
  moved: Record<number, number>,
): Pick<Settings, 'guestBlock' | 'guests'> => ({
  guestBlock,
  guests: new Map(
    Object.entries(moved).map(([vmid, block]): [number, GuestSettings] => [Number(vmid), { block }]),
  ),
})

describe('blocks', () => {
  test('the formula', () => {
    const vmids = [100, 107, 2099, 2100]
    const blocks = blocksOf(vmids, settingsOf({ ports: [20000, 59999], size: 20 }, {}), [])
    expect(vmids.map((vmid) => ownBlock(vmid, blocks))).toEqual([
      [20000, 20019],
      [20140, 20159],
      [59980, 59999],
      undefined,
    ])
  })

  test('no port is of two guests, whatever the VMIDs, the settings and what was granted before', () => {
    const vmid = fc.integer({ min: 100, max: 180 })
    fc.assert(
      fc.property(
        fc.uniqueArray(vmid),
        fc.integer({ min: 1, max: 9 }),
        fc.dictionary(vmid.map(String), fc.nat({ max: 40 })),
        fc.array(fc.tuple(vmid, fc.integer({ min: 1000, max: 1099 }))),
        (vmids, size, moved, held) => {
          const setting = settingsOf({ ports: [1000, 1099], size }, moved)
          const rights = held.map(([owner, port]) => ({
            vmid: owner,
            proto: 'tcp',
            ports: [port, port] as const,
            source: 'any',
            at: ['203.0.113.2'],
          }))
          const blocks = blocksOf(vmids, setting, rights)
          const ports = vmids.flatMap((one) => {
            const [lo, hi] = ownBlock(one, blocks) ?? [0, -1]
            return Array.from({ length: hi - lo + 1 }, (_, i) => lo + i)
          })
          expect(new Set(ports).size).toBe(ports.length)
          // Another node sees the same guests in another order.
          if (held.length === 0) expect(blocksOf([...vmids].reverse(), setting, [])).toEqual(blocks)
        },
      ),
    )
  })
})

test('list --blocks tells block, used and free of each guest, and which guests share one', async () => {
  const rule = (port: string) => `IN ACCEPT -p tcp -dport 80 # NAT ${port}`
  const files = new Map([
    ['pvenat.conf', '[nat]\nguest-block = 20000-20059/20\n[guest 110]\nblock = 7\n'],
    [
      'firewall/105.fw',
      `[OPTIONS]\nenable: 1\n[RULES]\n${rule('20050')}\n${rule('20040-20042')}\n${rule('20050')}\n`,
    ],
  ])
  const rows = blockRows(compile((await worldOf(caseOf(files))).look))
  expect(rows.find(({ vmid }) => vmid === 105)).toEqual({
    vmid: 105,
    name: 'plain',
    node: 'pve1',
    index: 2,
    ports: [20040, 20059],
    holder: 105,
    used: [
      [20040, 20042],
      [20050, 20050],
    ],
    free: [
      [20043, 20049],
      [20051, 20059],
    ],
  })
  expect(renderBlocks(rows)).toBe(`VMID  NAME                NODE  BLOCK  PORTS        USED               FREE
105   plain               pve1  2      20040-20059  20040-20042,20050  20043-20049,20051-20059
106   silent              pve1  0      20000-20019  -                  20000-20019
107   db                  pve1  1      20020-20039  -                  20020-20039
108   shop                pve1  2      20040-20059  -                  -
109                             0      20000-20019  ?                  ?
110   lab                 pve1  7      -            -                  -
200   own-public-address  pve1  1      20020-20039  -                  -

guest 108 has no block: guest 105 has block 2
guest 109 has no block: guest 106 has block 0
guest 110 has no block: there is no block 7
guest 200 has no block: guest 107 has block 1
`)
})
