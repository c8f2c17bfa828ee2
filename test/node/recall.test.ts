// What the service learnt reaches the commands whole.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseIp, type Range } from '../../src/address.ts'
import { recall, RECALL_FILE, renderRecall, type Recalled } from '../../src/node/recall.ts'

test('written and read it is the same; without it, or with nonsense, nothing is known', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pvenat-recall-'))
  const ip = (text: string): Range => parseIp(text) as Range
  const known: Recalled = {
    remembered: [
      { ip: ip('10.10.10.105'), from: 'lease', mac: 'BC:24:11:00:01:05' },
      { ip: ip('fd10::105'), from: 'neighbour', mac: 'BC:24:11:00:01:05', dev: 'vmbr1' },
      { ip: ip('10.10.10.106'), from: 'ipam', vmid: 106 },
    ],
    quarantined: new Map([['105-abc', 'set type not supported']]),
  }
  const nothing = { remembered: [], quarantined: new Map() }
  expect(await recall(dir)).toEqual(nothing)
  await writeFile(join(dir, RECALL_FILE), renderRecall(known))
  expect(await recall(dir)).toEqual(known)
  for (const text of ['{', '[]', '{"sightings": [{"ip": "odd"}], "quarantined": 7}']) {
    await writeFile(join(dir, RECALL_FILE), text)
    expect(await recall(dir)).toEqual(nothing)
  }
  await rm(dir, { recursive: true })
})
