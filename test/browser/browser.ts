// Debian's Chromium, inside a namespace of the lab, and `pvenat web` beside it, as a user who may nothing.
import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import type { Lab, Running } from '../lab/index.ts'
import type { TestNode } from '../packets/node.ts'
import { RunFolder, type Told } from '../web/published.ts'

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Nothing that looks for hosts outside, or waits for them. */
const QUIET = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-sandbox',
]

/** nobody, who is in the group that may read the run folder. */
const POWERLESS = [
  'setpriv',
  '--reuid',
  '65534',
  '--regid',
  '33',
  '--clear-groups',
  '--no-new-privs',
  '--bounding-set=-all',
  '--inh-caps=-all',
  '--ambient-caps=-all',
  '--',
]

/** Serves a run folder on a loopback port of a namespace. */
export class Served {
  private constructor(
    readonly running: Running,
    readonly url: string,
    private readonly dir: string,
  ) {}

  static async start(lab: Lab, node: string, runDir: string): Promise<Served> {
    // The repository may be where only root gets.
    const dir = await mkdtemp(join(tmpdir(), 'pvenat-web-'))
    await chmod(dir, 0o755)
    const bundle = join(dir, 'pvenat')
    await copyFile('dist/pvenat.cjs', bundle)
    const words = ['web', '--run-dir', runDir, '--listen', '127.0.0.1:0']
    const running = lab.spawn(node, [...POWERLESS, process.execPath, bundle, ...words], { cwd: '/' })
    const [, at] = await running.says(/the page is at (\S+)/, 20_000)
    return new Served(running, `http://${at}/`, dir)
  }

  async stop(): Promise<void> {
    await this.running.stop()
    await rm(this.dir, { recursive: true })
  }
}

/** A browser beside the node of a lab, for all tests of a file; `dir` is its folder. */
export function browserBeside(node: TestNode): { browser: Browser; dir: string } {
  const beside = {} as { browser: Browser; dir: string }
  beforeAll(async () => {
    beside.dir = await mkdtemp(join(tmpdir(), 'pvenat-browser-'))
    beside.browser = await openBrowser(node.lab.ns('pve').pid, beside.dir)
  })
  afterAll(async () => {
    await beside.browser?.close()
    await rm(beside.dir, { recursive: true, force: true })
  })
  return beside
}

/** A browser on the network of a namespace. */
export async function openBrowser(pid: number, dir: string): Promise<Browser> {
  const wrapper = join(dir, 'chromium')
  await writeFile(wrapper, `#!/bin/sh\nexec nsenter --target ${pid} --net -- chromium "$@"\n`, {
    mode: 0o755,
  })
  const rebound = '--host-resolver-rules=MAP evil.example 127.0.0.1'
  return chromium.launch({ executablePath: wrapper, args: [...QUIET, rebound], timeout: 60_000 })
}

/** A tab that has the page, and what went wrong in it. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; errors: string[]; foreign: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1360, height: 1000 }, ...options })
  const [errors, foreign]: [string[], string[]] = [[], []]
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(url)) foreign.push(request.url())
  })
  await page.goto(url)
  return { page, errors, foreign }
}

export const rowOf = (page: Page, text: string): Locator => page.locator('.row', { hasText: text }).first()
export const drawer = (page: Page): Locator => page.getByRole('complementary', { name: 'Rule' })

interface Finding {
  id: string
  nodes: { html: string }[]
}

/** All that axe finds, of whatever weight. */
export async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axeSource)
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: () => Promise<{ violations: Finding[] }> } }
    return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`)
  })
  return found
}

/** Serves a made run folder for the time of `use`. */
export async function servingFolder(
  lab: Lab,
  what: Partial<Told>,
  use: (url: string, folder: RunFolder, web: Served) => Promise<void>,
): Promise<void> {
  const folder = await RunFolder.create(what)
  await chmod(folder.dir, 0o755)
  const web = await Served.start(lab, 'pve', folder.dir)
  try {
    await use(web.url, folder, web)
  } finally {
    await web.stop()
    await folder.remove()
  }
}

/** The value that `part` of the list does not exceed, rounded. */
export const at = (list: readonly number[], part: number): number =>
  Math.round([...list].sort((a, b) => a - b)[Math.floor((list.length - 1) * part)] ?? 0)
