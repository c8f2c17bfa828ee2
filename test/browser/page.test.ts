// The page in a real browser, served by the built bundle over the lab's service.
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { RunFolder, told } from '../web/published.ts'
import { openBrowser, openPage, Served } from './browser.ts'

const SHOTS = 'dist/screenshots'
const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let scratch: string
let served: Served
let browser: Browser

const GOOD = ['IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 1080 <img src=x onerror=alert(1)>']
const node = testNode('legacy', {
  rules: { 'firewall/105.fw': GOOD },
  firewall: true,
  serve: ['105:22/tcp'],
  // As the package makes it.
  prepare: () => node.sh('install -d -m 2750 -o root -g 33 /run/pvenat'),
  pvenat: 'run',
})

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'pvenat-browser-'))
  await mkdir(SHOTS, { recursive: true })
  served = await Served.start(node.lab, 'pve', '/run/pvenat')
  browser = await openBrowser(node.lab.ns('pve').pid, scratch)
})
afterAll(async () => {
  await browser?.close()
  await served?.stop()
  await rm(scratch, { recursive: true, force: true })
})

const rowOf = (page: Page, text: string) => page.locator('.row', { hasText: text }).first()

async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(axeSource)
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: () => Promise<{ violations: Finding[] }> } }
    interface Finding {
      id: string
      impact: string
      nodes: { html: string }[]
    }
    return (await axe.run()).violations.map(({ id, impact, nodes }) => ({ id, impact, html: nodes[0]?.html }))
  })
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, html }) => `${id}: ${html}`)
}

test('a forward is seen, followed, and counted; what somebody typed stays text', async () => {
  const { page, errors, foreign } = await openPage(browser, served.url)
  const row = rowOf(page, 'tcp :1022')
  await row.waitFor()
  expect(await row.innerText()).toContain('10.10.10.105:22')
  await row.click()
  const detail = page.locator('#detail')
  expect(await detail.locator('.stations').innerText()).toMatch(
    /internet[\s\S]*1022[\s\S]*pve1[\s\S]*vmbr1[\s\S]*105/,
  )
  await page.locator('.line.chosen').waitFor()
  await node.ask(1022)
  await waitFor(async () => /[1-9]\d* in the last hour/.test(await detail.innerText()), { timeoutMs: 25_000 })
  await rowOf(page, 'tcp :1080').click()
  expect(await detail.innerText()).toContain('<img src=x onerror=alert(1)>')
  expect(await page.locator('img').count()).toBe(0)
  await page.screenshot({ path: `${SHOTS}/lab-light.png`, fullPage: true })
  expect({ errors, foreign }).toEqual({ errors: [], foreign: [] })
  await page.close()
})

test('a line is followed by the keyboard alone', async () => {
  const { page } = await openPage(browser, served.url)
  await rowOf(page, 'tcp :1022').waitFor()
  await page.locator('.line[tabindex="0"]').focus()
  await page.keyboard.press('ArrowDown')
  const label = await page.locator('.line:focus title').textContent()
  await page.keyboard.press('Enter')
  await page.locator('.line.chosen').waitFor()
  expect(await page.locator('.line.chosen title').textContent()).toBe(label)
  await page.keyboard.press('/')
  await page.keyboard.type('1080')
  await waitFor(async () => (await page.locator('.row:visible').count()) === 1)
  await page.close()
})

test('an edit that breaks a forward is seen as a problem within two seconds, and is gone when it is mended', async () => {
  const { page, errors } = await openPage(browser, served.url)
  await rowOf(page, 'tcp :1022').waitFor()
  const start = performance.now()
  await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 8006')
  const card = page.locator('.problem', { hasText: 'port 8006' })
  await card.waitFor({ timeout: 10_000 })
  const ms = Math.round(performance.now() - start)
  console.log(`edit to problem: ${ms} ms`)
  expect(ms).toBeLessThan(2000)
  expect(await card.locator('mark').innerText()).toBe('8006')
  expect(await card.locator('.help code').innerText()).toMatch(/^NAT \d+$/)
  expect(await page.locator('#said').textContent()).toContain('port 8006')
  expect(await page.locator('.line.error').count()).toBeGreaterThan(0)
  await page.screenshot({ path: `${SHOTS}/lab-problem.png`, fullPage: true })
  await node.save('firewall/105.fw', ...GOOD)
  await card.waitFor({ state: 'detached' })
  expect(errors).toEqual([])
  await page.close()
})

test('another site, or a name that is made to lead here, gets nothing', async () => {
  const { port } = new URL(served.url)
  const page = await browser.newPage()
  const answer = await page.goto(`http://evil.example:${port}/`)
  expect(answer?.status()).toBe(421)
  expect(await page.content()).not.toContain('app.js')
  const stolen = await page.evaluate(
    (url) =>
      fetch(`${url}api/list`)
        .then((response) => response.text())
        .catch(() => 'nothing'),
    served.url,
  )
  expect(stolen).toBe('nothing')
  await page.close()
})

test('the process has no capability and nothing that it could write to', async () => {
  const { pid } = served.running
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const lineOf = (key: string): string | undefined => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1]
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    expect(lineOf(set), set).toMatch(/^0+$/)
  expect(lineOf('Uid')).toMatch(/^65534\s/)
  expect(lineOf('NoNewPrivs')).toBe('1')
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => 'gone')
    if (!target.startsWith('/') || target === '/dev/null') continue
    const flags = /^flags:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0'
    expect(parseInt(flags, 8) & 3, target).toBe(0)
  }
})

interface Frames {
  frames: number[]
  keys: number[]
}

/** Types and scrolls, and measures frames, and from each key to the frame that shows its rows. */
const measure = async (): Promise<Frames> => {
  const frame = (): Promise<number> => new Promise((resolve) => requestAnimationFrame(resolve))
  const search = document.querySelector<HTMLInputElement>('#search')
  const scroller = document.querySelector('.scroller')
  if (!search || !scroller) throw new Error('no page')
  const keys: number[] = []
  for (const word of ['w', 'we', 'web', 'web ', 'web t', 'web tc', 'web tcp', 'web tcp 2', '2', '20', '']) {
    const start = performance.now()
    search.value = word
    search.dispatchEvent(new Event('input'))
    await frame()
    await frame()
    keys.push(performance.now() - start)
  }
  const frames: number[] = []
  let last = await frame()
  for (let i = 0; i < 120; i++) {
    scroller.scrollTop += 700
    const now = await frame()
    frames.push(now - last)
    last = now
  }
  return { frames, keys }
}

const at = (list: readonly number[], part: number): number =>
  Math.round([...list].sort((a, b) => a - b)[Math.floor((list.length - 1) * part)] ?? 0)

test('ten thousand rules are filtered and scrolled smoothly', async () => {
  const folder = await RunFolder.create(told(10_000, 700))
  await chmod(folder.dir, 0o755)
  const many = await Served.start(node.lab, 'pve', folder.dir)
  try {
    const { page, errors } = await openPage(browser, many.url, { colorScheme: 'dark' })
    await rowOf(page, 'tcp').waitFor()
    expect(await page.locator('#found').innerText()).toBe('10000 rules')
    const { frames, keys } = await page.evaluate(measure)
    const figures = [frames, keys].map((list) => `${at(list, 0.5)} / ${at(list, 0.95)} / ${at(list, 1)}`)
    console.log(`frames of scrolling, median / 95 % / worst: ${figures[0]} ms; key to rows: ${figures[1]} ms`)
    expect(await page.locator('.row').count()).toBeLessThan(60)
    expect(at(frames, 0.5)).toBeLessThan(34)
    expect(at(keys, 0.5)).toBeLessThan(200)
    await page.locator('#search').fill('web 2012')
    await waitFor(async () => (await page.locator('#found').innerText()).includes(' of 10000'))
    await page.locator('#search').fill('')
    await page.screenshot({ path: `${SHOTS}/many-dark.png`, fullPage: true })
    expect(await seriousFindings(page)).toEqual([])
    expect(errors).toEqual([])
    await page.close()
  } finally {
    await many.stop()
    await folder.remove()
  }
})

test.each([
  ['light', 1360],
  ['dark', 1360],
  ['light', 390],
  ['dark', 390],
] as const)(
  '%s at %i pixels: no serious finding about access, nothing to scroll sideways',
  async (colorScheme, width) => {
    const folder = await RunFolder.create(told(40, 12))
    await chmod(folder.dir, 0o755)
    const some = await Served.start(node.lab, 'pve', folder.dir)
    try {
      const viewport = { width, height: width > 1000 ? 1000 : 844 }
      const { page } = await openPage(browser, some.url, { colorScheme, viewport })
      await rowOf(page, 'tcp').click()
      await page.locator('.problem').first().waitFor()
      await page.locator('.line.chosen').waitFor()
      expect(await seriousFindings(page)).toEqual([])
      const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
      expect(content).toBeLessThanOrEqual(room ?? 0)
      await page.screenshot({ path: `${SHOTS}/some-${colorScheme}-${width}.png`, fullPage: true })
      await page.close()
    } finally {
      await some.stop()
      await folder.remove()
    }
  },
)
