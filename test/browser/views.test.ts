// What people do with the page: filter, sort, go back, copy; by keys, on a phone and in high contrast.
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { told, type Told } from '../web/published.ts'
import { drawer, findings, browserBeside, openPage, rowOf, servingFolder } from './browser.ts'

const node = testNode('legacy')

const beside = browserBeside(node)

const serving = (what: Partial<Told>, use: (url: string) => Promise<void>) =>
  servingFolder(node.lab, what, use)
const found = (page: Page) => page.locator('#found').innerText()
const column = (page: Page, name: string) => page.getByRole('columnheader', { name })

test('the numbers filter, each column sorts both ways, all of it stands in the address bar, and Back undoes a choice', async () => {
  await serving(told(40, 6), async (url) => {
    const { page, errors } = await openPage(beside.browser, url)
    await rowOf(page, 'error').waitFor()
    const errorsTile = page
      .getByRole('group', { name: 'Rules by state' })
      .getByRole('button', { name: 'errors' })
    expect(await errorsTile.innerText()).toMatch(/^14\s/)
    await errorsTile.click()
    expect(await found(page)).toBe('14 of 40 rules')
    expect(await errorsTile.getAttribute('aria-pressed')).toBe('true')
    await page.getByRole('button', { name: 'Show all' }).click()
    for (const name of [
      'State',
      'External',
      'Target',
      'Guest',
      'Source',
      'Comment',
      'New connections',
      'Rule',
    ]) {
      const button = column(page, name).getByRole('button')
      await button.focus()
      if (name !== 'State') await page.keyboard.press('Enter')
      expect(await column(page, name).getAttribute('aria-sort'), name).toBe('ascending')
      const first = await page.locator('.row').first().innerText()
      await page.keyboard.press('Enter')
      expect(await column(page, name).getAttribute('aria-sort'), name).toBe('descending')
      // Nothing was counted yet, so there is no order by connections.
      if (name !== 'New connections')
        await waitFor(async () => (await page.locator('.row').first().innerText()) !== first, { what: name })
    }
    await page.locator('#search').fill('shop')
    const shown = await found(page)
    await rowOf(page, 'shop').click()
    const title = await drawer(page).locator('h2').innerText()
    await page.reload()
    await drawer(page).getByRole('heading', { name: title }).waitFor()
    expect(await found(page)).toBe(shown)
    await page.goBack()
    await drawer(page).waitFor({ state: 'detached' })
    // Beside the drawer there is no room for this column.
    expect(await column(page, 'Rule').getAttribute('aria-sort')).toBe('descending')
    expect(errors).toEqual([])
    await page.close()
  })
})

test('on a phone a rule is a card with state, external, target and comment', async () => {
  await serving(told(9), async (url) => {
    const { page } = await openPage(beside.browser, url, { viewport: { width: 390, height: 844 } })
    const card = page.locator('.row').first()
    await card.waitFor()
    expect((await card.innerText()).split(/\s*\n\s*/)).toEqual([
      'working',
      '203.0.113.7:2000/udp',
      '10.10.0.100:22',
      '2000 shop',
    ])
    expect((await card.boundingBox())?.width).toBeGreaterThan(340)
    expect(await page.locator('thead').isVisible()).toBe(false)
    await card.click()
    expect((await drawer(page).boundingBox())?.width).toBe(390)
    await page.close()
  })
})

test('each Copy puts what stands beside it on the clipboard, and all of it can be typed', async () => {
  const { rows, ...rest } = told(40, 6)
  const clients = rows.map((row) => ({
    ...row,
    inner: { ...row.inner, ports: [[443, 443]] as [[number, number]] },
  }))
  await serving({ ...rest, rows: clients }, async (url) => {
    const { page } = await openPage(beside.browser, `${url}#tab=problems`, {
      permissions: ['clipboard-read', 'clipboard-write'],
    })
    const typed =
      /^(NAT \d+|[\d.]+:\d+|curl https:\/\/[\d.]+:\d+\/|pvenat explain (tcp|udp) [\d.]+ [\d.]+:\d+)$/
    const copyAll = async (): Promise<string[]> => {
      const texts: string[] = []
      for (const button of await page.getByRole('button', { name: /^Cop(y|ied): / }).all()) {
        const text = ((await button.getAttribute('aria-label')) ?? '').replace(/^Cop(y|ied): /, '')
        await button.click()
        expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text)
        expect(text).toMatch(typed)
        texts.push(text)
      }
      return texts
    }
    await page.locator('.problem').first().waitFor()
    expect(new Set(await copyAll())).toEqual(new Set(['NAT 18006']))
    // An advice without a text to type has no Copy.
    const taken = page.locator('.problem', { hasText: 'already forwarded' }).first()
    expect(await taken.getByRole('button', { name: /^Copy/ }).count()).toBe(0)
    await page.keyboard.press('1')
    await page.locator('.row', { hasText: 'working' }).filter({ hasText: '/tcp' }).first().click()
    await drawer(page).waitFor()
    expect(await copyAll()).toHaveLength(3)
    await page.close()
  })
})

test('by keys: tabs, rules, the helper; and the sentence that screen readers say', async () => {
  await serving(told(40, 6), async (url) => {
    const { page } = await openPage(beside.browser, url)
    await rowOf(page, 'error').waitFor()
    const title = () => drawer(page).locator('h2').innerText()
    await page.keyboard.press('j')
    const first = await title()
    expect(await page.locator('.row[aria-current=true]').innerText()).toContain(first)
    await page.keyboard.press('j')
    await page.keyboard.press('k')
    expect(await title()).toBe(first)
    await page.keyboard.press('Escape')
    await page.keyboard.press('3')
    await page.getByRole('button', { name: 'Show the rule' }).first().press('Enter')
    expect(await title()).toBe(first)
    await page.keyboard.press('Escape')
    await page.keyboard.press('n')
    const helper = page.getByRole('dialog', { name: 'New forward' })
    expect(
      await helper.getByLabel('Guest', { exact: true }).evaluate((one) => one === document.activeElement),
    ).toBe(true)
    // A digit is typed there, and chooses no tab.
    await page.keyboard.type('1')
    await page.keyboard.press('Escape')
    await helper.waitFor({ state: 'detached' })
    expect(await page.locator('.problem').count()).toBeGreaterThan(0)
    expect(await page.locator('#said').innerText()).toMatch(/^14 problems, the first: port 8006\/tcp belongs/)
    await page.close()
  })
})

test('where there are several uplinks, the path of a rule names its own', async () => {
  const { rows, ...rest } = told(9)
  const several = rows.map((row) => ({ ...row, uplinks: ['vmbr0', 'wg0'] }))
  await serving({ ...rest, rows: several }, async (url) => {
    const { page } = await openPage(beside.browser, `${url}#rule=${rows[0]?.id}`)
    await drawer(page).getByRole('list', { name: 'Path' }).getByText('vmbr0, wg0').waitFor()
    await page.close()
  })
  await serving({ ...rest, rows }, async (url) => {
    const { page } = await openPage(beside.browser, `${url}#rule=${rows[0]?.id}`)
    const path = drawer(page).getByRole('list', { name: 'Path' })
    await path.getByText('pve1').waitFor()
    expect(await path.innerText()).not.toContain('uplink')
    await page.close()
  })
})

test('who asks for more contrast gets ink on paper, and axe finds nothing', async () => {
  await serving(told(40, 6), async (url) => {
    const { page } = await openPage(beside.browser, url, { contrast: 'more' })
    await rowOf(page, 'error').waitFor()
    const colours = await page.evaluate(() =>
      ['.row td:last-child', 'body'].map(
        (one) => getComputedStyle(document.querySelector(one) as Element).color,
      ),
    )
    expect(colours[0]).toBe(colours[1])
    expect(await findings(page)).toEqual([])
    await page.close()
  })
})
