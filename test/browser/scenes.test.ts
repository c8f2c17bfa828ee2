// The page as people see it: pictures of it at each size, and what axe says.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testNode } from '../packets/node.ts'
import { ended, told, type Told } from '../web/published.ts'
import { drawer, findings, openBrowser, openPage, servingFolder } from './browser.ts'

const SHOTS = 'dist/screenshots'
const node = testNode('legacy')
let scratch: string
let browser: Browser

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'pvenat-browser-'))
  await mkdir(SHOTS, { recursive: true })
  browser = await openBrowser(node.lab.ns('pve').pid, scratch)
})
afterAll(async () => {
  await browser?.close()
  await rm(scratch, { recursive: true, force: true })
})

const SCENES: Record<string, Partial<Told>> = {
  empty: told(0),
  small: told(9),
  errors: told(40, 6),
  many: told(1200, 40),
  down: { ...told(14, 7), status: ended(told(14, 7).status) },
}
const SIZES = [
  [1440, 900],
  [1280, 720],
  [390, 844],
] as const
const LOOKS: [name: string, options: BrowserContextOptions][] = [
  ...(['light', 'dark'] as const).flatMap((colorScheme) =>
    SIZES.map(([width, height]): [string, BrowserContextOptions] => [
      `${width}-${colorScheme}`,
      { colorScheme, viewport: { width, height } },
    ]),
  ),
  // A laptop of 1280 pixels at 200 %, in high contrast.
  ['zoom', { viewport: { width: 640, height: 360 }, forcedColors: 'active' }],
]

test.each(Object.entries(SCENES))(
  '%s: axe finds nothing and nothing is cut at any size, in light, dark and high contrast',
  async (scene, what) => {
    const rule = what.rows?.[1]?.id
    const views = { rules: '', map: '#tab=map', problems: '#tab=problems', rule: `#rule=${rule}` }
    await servingFolder(node.lab, what, async (url, folder) => {
      // What comes after the first count is a connection of this minute.
      const first = await openPage(browser, url, { viewport: { width: 1440, height: 900 } })
      await first.page.getByText('Connections were counted').waitFor()
      await first.page.close()
      const grown = Object.entries(what.counters?.rules ?? {}).map(([id, [packets, bytes]], i) => [
        id,
        [packets + ((i * 7) % 23), bytes],
      ])
      await folder.say({
        counters: {
          at: new Date().toISOString(),
          rules: Object.fromEntries(grown) as Told['counters']['rules'],
        },
      })
      for (const [name, options] of LOOKS) {
        const { page, errors } = await openPage(browser, url, options)
        for (const [view, hash] of Object.entries(views).filter(([one]) => rule ?? one === 'rules')) {
          if (what.status)
            await folder.say({ status: { ...what.status, updatedAt: new Date().toISOString() } })
          await page.goto(`${url}${hash}`)
          const shown = page.locator(rule ? '.row, .way, .problem, .nothing' : '#first')
          await shown.first().waitFor({ state: 'attached' })
          if (view === 'rule') await drawer(page).locator('canvas').waitFor()
          const at = `${scene}-${name}-${view}`
          if (!name.startsWith('1280')) expect(await findings(page), at).toEqual([])
          const [content, room] = await page.evaluate(() => [document.body.scrollWidth, innerWidth])
          expect(content, at).toBeLessThanOrEqual(room ?? 0)
          await page.screenshot({ path: `${SHOTS}/${at}.png` })
        }
        expect(errors).toEqual([])
        await page.close()
      }
    })
  },
  240_000,
)
