// Edit → effect, as the first packet at the new place sees it: for every way in which a file can be saved.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backends,
  copyTree,
  createLab,
  loadPveFirewall,
  node1Tree,
  Pvenat,
  removeTree,
  saveInPlace,
  saveLikeGui,
  waitFor,
  type Lab,
} from '../lab/index.ts'

/** What the product promises from a save to the first packet. */
const PROMISE_MS = 1000

describe.each(backends)('edits with pvenat run on %s', (backend) => {
  let lab: Lab
  let tree: string
  let pvenat: Pvenat
  const took: string[] = []

  beforeAll(async () => {
    lab = await createLab()
    tree = await copyTree(node1Tree)
    pvenat = new Pvenat(lab, backend, tree)
    // The interval is long, so that what is seen is the event and not the clock.
    await pvenat.configure('interval = 60')
    await loadPveFirewall(lab, backend, node1Tree)
    await Promise.all([lab.serve('105', 'tcp', 22, 80), lab.serve('108', 'tcp', 80)])
    await pvenat.start()
  })
  afterAll(async () => {
    console.log(`${backend}: ${took.join(', ')}`)
    await lab.stop()
    await removeTree(tree)
  })

  const rules = (...lines: string[]): string => `[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n${lines.join('\n')}\n\n`
  const ask = (port: number) => lab.ask('inet', 'tcp', `203.0.113.2:${port}`, { timeoutMs: 100 })

  /** Waits until :port leads to guest 105 (or nowhere), and says how long it took since `start`. */
  async function effect(what: string, port: number, open: boolean, start: number): Promise<void> {
    await waitFor(async () => (typeof (await ask(port)) === 'object') === open, {
      what: `${what} (port ${port})`,
    })
    const ms = performance.now() - start
    took.push(`${what} ${Math.round(ms)} ms`)
    expect(ms).toBeLessThan(PROMISE_MS + (open ? 0 : 100))
  }

  const saves = { 'by rename': saveLikeGui, 'in place': saveInPlace }
  test.each(Object.entries(saves))('a rule is added, changed and removed %s', async (how, save) => {
    let start = performance.now()
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 3001'))
    await effect(`add ${how}`, 3001, true, start)
    expect(await ask(1022)).toMatchObject({ server: '105' })
    start = performance.now()
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 3002'))
    await effect(`change ${how}`, 3002, true, start)
    expect(await ask(3001)).toBe('nothing')
    start = performance.now()
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 1022'))
    await effect(`remove ${how}`, 3002, false, start)
    expect(await ask(1022)).toMatchObject({ server: '105' })
  })

  test('a file goes and comes', async () => {
    const text = await readFile(join(tree, 'firewall/105.fw'), 'utf8')
    let start = performance.now()
    await rm(join(tree, 'firewall/105.fw'))
    await effect('remove file', 1022, false, start)
    expect(await ask(8080)).toMatchObject({ server: '108' })
    start = performance.now()
    await saveLikeGui(tree, 'firewall/105.fw', text)
    await effect('add file', 1022, true, start)
  })

  test.each(Object.entries(saves))('two saves of equal size within one second, %s', async (how, save) => {
    const start = performance.now()
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 4001'))
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 4002'))
    await effect(`second save ${how}`, 4002, true, start)
    expect(await ask(4001)).toBe('nothing')
    const again = performance.now()
    await save(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 4003'))
    await effect(`third save ${how}`, 4003, true, again)
  })

  test('an edit touches no other forward: a stream through one of them goes on', async () => {
    const stream = await lab.stream('inet', '203.0.113.2:8080')
    await saveLikeGui(tree, 'firewall/105.fw', rules('IN SSH(ACCEPT) # NAT 1022'))
    await effect('change beside a stream', 1022, true, performance.now())
    expect(await stream.ping()).toBe(true)
    await stream.close()
  })
})
