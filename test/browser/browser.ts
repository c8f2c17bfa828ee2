// Debian's Chromium, inside a namespace of the lab, and `pvenat web` beside it, as a user who may nothing.
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Lab, Running } from '../lab/index.ts'

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
