// The page as people see it: pictures of it at each size, and what axe says.
import { chmod, mkdir } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import type { BrowserContextOptions } from 'playwright-core'
import { beforeAll, expect, test } from 'vitest'
import { SOCKET, type RuleAnswer } from '../../src/node/asking.ts'
import { waitFor } from '../lab/index.ts'
import { testNode } from '../packets/node.ts'
import { ended, told, type RunFolder, type Told } from '../web/published.ts'
import { drawer, findings, browserBeside, openPage, servingFolder } from './browser.ts'

const SHOTS = 'dist/screenshots'
const node = testNode('legacy')

const beside = browserBeside(node)

beforeAll(() => mkdir(SHOTS, { recursive: true }))

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

/** Who is connected, as the service would say it. */
const CLIENTS: RuleAnswer = {
  guestType: 'lxc',
  block: '20000-20019; used: 20003; free: 20000-20002,20004-20019',
  connections: [
    { client: '198.51.100.7:50122', port: '203.0.113.2:2001', state: 'ESTABLISHED' },
    { client: '192.0.2.9:41876', port: '203.0.113.2:2001', state: 'TIME_WAIT' },
  ],
  total: 2,
}

/** A socket beside the files that answers questions about rules. */
async function answering(dir: string): Promise<Server> {
  const server = createServer((socket) =>
    socket
      .on('error', () => undefined)
      .on('data', (line) => line.toString().startsWith('rule ') && socket.end(JSON.stringify(CLIENTS))),
  )
  await new Promise<void>((resolve) => server.listen(join(dir, SOCKET), resolve))
  await chmod(join(dir, SOCKET), 0o666)
  return server
}

/** Connections of the last hour, counted every five minutes. */
async function grow(url: string, folder: RunFolder, { rules }: Told['counters']): Promise<void> {
  for (let step = 0; step <= 12; step++) {
    const at = new Date(Date.now() - (12 - step) * 290_000).toISOString()
    const grown = Object.entries(rules).map(([id, [packets, bytes]], i): [string, [number, number]] => [
      id,
      [packets + step * (i % 3) + Math.floor((step * step * ((i * 7) % 23)) / 60), bytes],
    ])
    await folder.say({ counters: { at, rules: Object.fromEntries(grown) } })
    await waitFor(async () => {
      const fetched = 'fetch(process.argv[1]).then((answer) => answer.text()).then(console.log)'
      const answer = await node.lab.exec('pve', [process.execPath, '-e', fetched, `${url}api/counters`])
      return answer.stdout.includes(at)
    })
  }
}

test.each(Object.entries(SCENES))(
  '%s: axe finds nothing and nothing is cut at any size, in light, dark and high contrast',
  async (scene, { counters, ...what }) => {
    const rule = what.rows?.[1]?.id
    const views = { rules: '', map: '#tab=map', problems: '#tab=problems', rule: `#rule=${rule}` }
    await servingFolder(node.lab, what, async (url, folder) => {
      const service = scene === 'down' ? undefined : await answering(folder.dir)
      if (counters) await grow(url, folder, counters)
      for (const [name, options] of LOOKS) {
        const { page, errors } = await openPage(beside.browser, url, options)
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
      service?.close()
    })
  },
  240_000,
)
