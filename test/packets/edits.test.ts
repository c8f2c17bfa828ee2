// Edit → effect, as the first packet at the new place sees it: for every way in which a file can be saved.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Row } from '../../src/show/list.ts'
import { backends, fwFile, saveInPlace, saveLikeGui, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

/** What the product promises from a save to the first packet. */
const PROMISE_MS = 1000

describe.each(backends)('edits with pvenat run on %s', (backend) => {
  const node = testNode(backend, {
    // The interval is long, so that what is seen is the event and not the clock.
    firewall: true,
    settings: 'interval = 60',
    pvenat: 'run',
    serve: ['105:22,80/tcp', '108:80/tcp'],
  })

  const FILE = 'firewall/105.fw'
  const took: string[] = []
  afterAll(() => console.log(`${backend}: ${took.join(', ')}`))
  const ask = (port: number) => node.ask(port, { timeoutMs: 100 })

  /** Waits until :port leads to guest 105 (or nowhere), and tells how long that took since `start`. */
  async function effect(what: string, port: number, open: boolean, start: number): Promise<void> {
    await waitFor(async () => (typeof (await ask(port)) === 'object') === open, {
      what: `${what} (port ${port})`,
    })
    const ms = performance.now() - start
    took.push(`${what} ${Math.round(ms)} ms`)
    expect(ms).toBeLessThan(await node.fair(PROMISE_MS + (open ? 0 : 100), ms))
  }

  const saves = { 'by rename': saveLikeGui, 'in place': saveInPlace }
  test.each(Object.entries(saves))('a rule is added, changed and removed %s', async (how, save) => {
    let start = performance.now()
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 3001'))
    await effect(`add ${how}`, 3001, true, start)
    expect(await ask(1022)).toMatchObject({ server: '105' })
    start = performance.now()
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 3002'))
    await effect(`change ${how}`, 3002, true, start)
    expect(await ask(3001)).toBe('nothing')
    start = performance.now()
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 1022'))
    await effect(`remove ${how}`, 3002, false, start)
    expect(await ask(1022)).toMatchObject({ server: '105' })
  })

  test('a file goes and comes', async () => {
    const text = await node.text(FILE)
    let start = performance.now()
    await rm(join(node.tree, FILE))
    await effect('remove file', 1022, false, start)
    expect(await ask(8080)).toMatchObject({ server: '108' })
    start = performance.now()
    await saveLikeGui(node.tree, FILE, text)
    await effect('add file', 1022, true, start)
  })

  test.each(Object.entries(saves))('two saves of equal size within one second, %s', async (how, save) => {
    const start = performance.now()
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 4001'))
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 4002'))
    await effect(`second save ${how}`, 4002, true, start)
    expect(await ask(4001)).toBe('nothing')
    const again = performance.now()
    await save(node.tree, FILE, fwFile('IN SSH(ACCEPT) # NAT 4003'))
    await effect(`third save ${how}`, 4003, true, again)
  })

  test('an edit touches no other forward: a stream through one of them goes on, and its counters, too', async () => {
    // A connection between the reading and the writing of its chain is not counted.
    await node.converged()
    const stream = await node.lab.stream('inet', '203.0.113.2:8080')
    const counters = async () =>
      (JSON.parse((await node.pvenat.run('list', '--json', '--guest', '108')).stdout) as Row[]).map(
        ({ packets, bytes }) => [packets, bytes],
      )
    const before = await counters()
    expect(Math.max(...before.flat())).toBeGreaterThan(0)
    const start = performance.now()
    await node.save(FILE, 'IN SSH(ACCEPT) # NAT 1022')
    await effect('change beside a stream', 1022, true, start)
    expect(await counters()).toEqual(before)
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })
})
