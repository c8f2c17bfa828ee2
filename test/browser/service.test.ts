// The page in a real browser, served by the built bundle over the lab's service.
import { readdir, readFile, readlink } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Verdict } from '../../src/show/verdict.ts'
import { waitFor } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { at, drawer, browserBeside, openPage, rowOf, Served } from './browser.ts'

let served: Served

const HOST = 'nodes/pve1/host.fw'
const GOOD = ['IN SSH(ACCEPT) # NAT 1022', 'IN HTTP(ACCEPT) # NAT 1080 <img src=x onerror=alert(1)>']
const node = testNode('legacy', {
  rules: { 'firewall/105.fw': GOOD },
  firewall: true,
  serve: ['105:22/tcp'],
  // As the package makes it.
  prepare: () => node.sh('install -d -m 2750 -o root -g 33 /run/pvenat'),
  pvenat: 'run',
})

const beside = browserBeside(node)

beforeAll(async () => {
  served = await Served.start(node.lab, 'pve', '/run/pvenat')
})
afterAll(() => served?.stop())

test('a forward is seen, followed, and counted within three seconds; its clients are named; typed text stays text', async () => {
  const { page, errors, foreign } = await openPage(beside.browser, served.url)
  const row = rowOf(page, ':1022')
  await row.waitFor()
  expect(await row.innerText()).toContain('10.10.10.105:22')
  await row.click()
  const rule = drawer(page)
  expect(await rule.locator('.path').innerText()).toMatch(
    /internet[\s\S]*1022[\s\S]*pve1[\s\S]*vmbr1[\s\S]*105/,
  )
  const stream = await node.lab.stream('inet', '203.0.113.2:1022')
  const start = performance.now()
  await waitFor(async () => /[1-9]\d* in the last hour/.test(await rule.innerText()), { timeoutMs: 10_000 })
  console.log(`connection to count: ${Math.round(performance.now() - start)} ms`)
  expect(performance.now() - start).toBeLessThan(4000)
  await waitFor(async () => /[\d.]+:\d+ → 203\.0\.113\.2:1022/.test(await rule.innerText()), {
    timeoutMs: 8000,
  })
  await stream.close()
  expect(await rule.getByLabel('To copy').innerText()).toMatch(
    /203\.0\.113\.2:1022[\s\S]*ssh -p 1022 root@203\.0\.113\.2[\s\S]*pvenat explain tcp/,
  )
  expect(await rule.getByRole('link').getAttribute('href')).toMatch(
    /^https:\/\/pve1:8006\/#v1:0:=(lxc|qemu)%2F105:/,
  )
  await rowOf(page, ':1080').click()
  await waitFor(async () => (await rule.innerText()).includes('<img src=x onerror=alert(1)>'))
  expect(await page.locator('img[src=x]').count()).toBe(0)
  expect({ errors, foreign }).toEqual({ errors: [], foreign: [] })
  await page.close()
})

test('all of it goes by the keyboard, and the address bar holds what is chosen', async () => {
  const { page } = await openPage(beside.browser, served.url)
  await rowOf(page, ':1022').waitFor()
  await page.keyboard.press('2')
  await page.locator('.way').first().focus()
  const label = (await page.locator('.way:focus').getAttribute('aria-label')) ?? ''
  await page.keyboard.press('Enter')
  await drawer(page).waitFor()
  await page.locator('.way.hot').waitFor({ state: 'attached' })
  expect(label).toContain((await drawer(page).locator('h2').innerText()).slice(-5))
  await page.keyboard.press('Escape')
  await drawer(page).waitFor({ state: 'detached' })
  await page.keyboard.press('1')
  await page.keyboard.press('j')
  const first = await drawer(page).locator('h2').innerText()
  await page.keyboard.press('j')
  expect(await drawer(page).locator('h2').innerText()).not.toBe(first)
  await page.keyboard.press('Escape')
  await page.keyboard.press('/')
  await page.keyboard.type('1080')
  await waitFor(async () => (await page.locator('.row').count()) === 1)
  await page.reload()
  await rowOf(page, ':1080').waitFor()
  expect(await page.locator('.row').count()).toBe(1)
  await page.close()
})

test('an edit that breaks a forward is seen as a problem within two seconds, and is gone when it is mended', async () => {
  const { page, errors } = await openPage(beside.browser, `${served.url}#tab=problems`)
  await page.getByText('No problems.').waitFor()
  const start = performance.now()
  await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT 8006')
  const card = page.locator('.problem', { hasText: 'port 8006' })
  await card.waitFor({ timeout: 10_000 })
  const ms = Math.round(performance.now() - start)
  console.log(`edit to problem: ${ms} ms`)
  expect(ms).toBeLessThan(2000)
  expect(await card.locator('mark').innerText()).toBe('8006')
  expect(await card.locator('code').innerText()).toMatch(/^NAT \d+$/)
  expect(await page.locator('#said').textContent()).toContain('port 8006')
  await card.getByRole('button', { name: 'Show the rule' }).click()
  await drawer(page).getByText('port 8006').waitFor()
  await page.keyboard.press('1')
  await drawer(page).getByRole('button', { name: 'All of this kind' }).click()
  await card.first().waitFor()
  await node.save('firewall/105.fw', ...GOOD)
  await card.first().waitFor({ state: 'detached' })
  expect(errors).toEqual([])
  await page.close()
})

test('another site, or a name that is made to lead here, gets nothing', async () => {
  const { port } = new URL(served.url)
  const page = await beside.browser.newPage()
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

test('the helper knows what the node keeps and what is forwarded', async () => {
  await node.save('firewall/105.fw', ...GOOD)
  const { page } = await openPage(beside.browser, served.url)
  await rowOf(page, ':1022').waitFor()
  await page.keyboard.press('n')
  const helper = page.getByRole('dialog', { name: 'New forward' })
  const says = async (port: string, text: string) => {
    await helper.getByLabel('Outside port').fill(port)
    await helper.getByText(text).waitFor()
  }
  await says('8006', '8006/tcp belongs to')
  await says('1022', '1022/tcp belongs to 105.fw:')
  await says('2345', '2345/tcp is free')
  await page.close()
})

test('where guests have blocks, the helper proposes NAT auto', async () => {
  const { page } = await openPage(beside.browser, served.url)
  await node.pvenat.configure('guest-block = 20000-29999/20')
  // Comments of the lab hold the word, too.
  await page.getByText('error', { exact: true }).first().waitFor()
  await page.keyboard.press('n')
  const helper = page.getByRole('dialog', { name: 'New forward' })
  await helper.getByLabel('Guest', { exact: true }).fill('105')
  await helper.getByText('2222/tcp is no free port of the guest’s block, 20100-20119').waitFor()
  expect(await helper.innerText()).toContain("--comment 'NAT auto'")
  await helper.getByLabel('Outside port').fill('20107')
  await helper.getByText('20107/tcp is free').waitFor()
  await page.keyboard.press('Escape')
  await node.save('firewall/105.fw', 'IN SSH(ACCEPT) # NAT auto')
  await rowOf(page, ':20102').click()
  await drawer(page).getByText('20100-20119; used: 20102; free: 20100-20101,20103-20119').waitFor()
  await page.close()
  await node.save('firewall/105.fw', ...GOOD)
  await node.pvenat.configure()
})

test('a node without a rule: the firewall first, then its own addresses and bridges, and NAT auto where there are blocks', async () => {
  const files = ['cluster', '105', '107', '108'].map((name) => `firewall/${name}.fw`)
  const before = await Promise.all(files.map((file) => node.text(file)))
  for (const file of files)
    await node.edit(file, (text) => text.replaceAll('# NAT', '# no').replace('enable: 1', 'enable: 0'))
  await node.pvenat.configure('guest-block = 20000-29999/20')
  const { page } = await openPage(beside.browser, served.url)
  const first = page.getByRole('region', { name: 'No rule is marked NAT yet' })
  await first.getByText('Each guest has a block of ports. NAT auto').waitFor({ timeout: 20_000 })
  const steps = await first.getByRole('listitem').allInnerTexts()
  expect(steps[0]).toMatch(/^The firewall of the datacenter is off, so no rule counts\..*ssh and port 8006/)
  expect(steps[1]).toMatch(/^Let people in\..*ssh -p 2222 root@203\.0\.113\.2/s)
  expect(steps[2]).toMatch(/^Each guest has a block of ports/)
  expect(steps[3]).toMatch(/^Let guests out\..*10\.10\.10\.0\/24/s)
  expect(await first.locator('small').innerText()).toMatch(
    /External: .*203\.0\.113\.2.*\(vmbr0\).*Internal: 10\.10\.10\.0\/24 \(vmbr1\)/,
  )
  await page.close()
  for (const [i, file] of files.entries()) await node.edit(file, () => before[i] ?? '')
  await node.pvenat.configure()
})

test('with ten thousand rules counts are at most three seconds old while somebody looks', async () => {
  const host = await node.text(HOST)
  onTestFinished(() => node.edit(HOST, () => host))
  // A guest may have 256 forwards in its own file, the node as many as it likes.
  const rule = (_: unknown, i: number): string =>
    `IN ACCEPT -dest 10.10.10.105 -p tcp -dport 22 # NAT ${20_000 + i}`
  await node.save(HOST, ...Array.from({ length: 10_000 }, rule))
  const { page } = await openPage(beside.browser, `${served.url}#q=25000`)
  const row = rowOf(page, ':25000')
  await row.getByText('working').waitFor({ timeout: 40_000 })
  await waitFor(async () => countedMsAgo(page).then((ms) => ms < 3000), { timeoutMs: 40_000 })
  const [start, before] = [performance.now(), await cpuSeconds(node.pvenat.service?.pid)]
  const ages: number[] = []
  await waitFor(async () => ages.push(await countedMsAgo(page)) >= 60, { timeoutMs: 60_000, intervalMs: 200 })
  const lookedSeconds = (performance.now() - start) / 1000
  const share = ((await cpuSeconds(node.pvenat.service?.pid)) - before) / lookedSeconds
  const called = performance.now()
  const stream = await node.lab.stream('inet', '203.0.113.2:25000')
  await waitFor(async () => Number(await row.locator('td').nth(6).innerText()) > 0, { timeoutMs: 20_000 })
  const shownMs = Math.round(performance.now() - called)
  await stream.close()
  await node.edit(HOST, () => host)
  await row.waitFor({ state: 'detached', timeout: 40_000 })
  await page.close()
  console.log(
    `10,000 rules: counts ${at(ages, 0.5)} ms old in the median, ${at(ages, 1)} ms at worst; connection to count ` +
      `${shownMs} ms; ${Math.round(100 * share)} % of a core in the service and its programs`,
  )
  expect(at(ages, 1)).toBeLessThan(3000)
  expect(shownMs).toBeLessThan(4000)
  expect(share).toBeLessThan(0.5)
}, 200_000)

/** Age of the counts that the server of the page gives now. */
async function countedMsAgo(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const { at } = (await (await fetch('api/counters')).json()) as { at: string }
    return Date.now() - Date.parse(at)
  })
}

/** Seconds of the processor that a process and its ended children have had. */
async function cpuSeconds(pid = 0): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / 100, 0)
}

test('the header has the level of pvenat status: in sync, with a rule that does not work, without the service', async () => {
  const { page } = await openPage(beside.browser, served.url)
  const isAlike = async (level: string): Promise<void> => {
    const header = page.getByRole('banner').getByRole('status')
    await waitFor(async () => (await header.innerText()).startsWith(level), {
      timeoutMs: 10_000,
      what: level,
    })
    const said = JSON.parse((await node.pvenat.run('status', '--json')).stdout) as Verdict
    expect(said.level).toBe(level)
    expect(await header.innerText()).toContain(said.reasons[0]?.split(': systemctl')[0] ?? 'in sync')
  }
  await node.save('firewall/105.fw', ...GOOD)
  await isAlike('OK')
  await node.save('firewall/105.fw', ...GOOD, 'IN SSH(ACCEPT) # NAT 8006')
  await isAlike('WARNING')
  await node.pvenat.service?.stop()
  await isAlike('CRITICAL')
  await page.close()
})
