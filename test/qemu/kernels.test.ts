// The packet table under the kernels of Debian 12 and 13: they track connections on bridges under both firewalls of Proxmox VE, and have
// WireGuard and IPsec, which not every kernel of a machine that tests can.
//   SUITE=trixie                        only the kernel of that release
//   PROGRAM="router vps"                only parts of the table: firewalls, router, vps
//   FILES="test/packets/v6.test.ts …"   these packet tests in place of the table, by hand: they take minutes each
import { build } from 'esbuild'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
import { suites, type Suite } from '../package/root.ts'
import { runIn } from './machine.ts'
import type { Stage, Told } from './stage.ts'
import { FIREWALLS } from './table.ts'
import { ROUTER, THROUGH_VPS } from './tunnels.ts'

const SUITES = suites.filter((suite) => suite === (process.env['SUITE'] ?? suite))
const FILES = (process.env['FILES'] ?? '').split(' ').filter((path) => path !== '')
const TIMEOUT_MS = 3_600_000
const LAB = ['dist/pvenat.cjs', 'debian/pvenat.service', 'fixtures/node1', 'docs', 'test/lab/pvetools.mjs']

/** What runs in the guest, one after the other, and the stages that each tells. */
const PROGRAMS: readonly (readonly [name: string, stages: readonly Stage[]])[] = (
  [
    ['firewalls', FIREWALLS],
    ['router', ROUTER],
    ['vps', THROUGH_VPS],
  ] as const
).filter(([name]) => (process.env['PROGRAM'] ?? name).split(' ').includes(name))

/** A program of the guest as one file, for the place where the lab finds its own files. */
async function bundle(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`test/qemu/${name}.ts`],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)",
    },
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

if (FILES.length > 0) describe.each(SUITES)('on the kernel of %s', otherPackets)
else describe('the packet table', packetTable)

function packetTable(): void {
  const told = new Map<string, Told>()
  beforeAll(async () => {
    const paths = PROGRAMS.map(([name]) => `test/lab/${name}.mjs`)
    const bundles = await Promise.all(
      PROGRAMS.map(async ([name], i) => [paths[i] ?? '', await bundle(name)] as const),
    )
    const texts = Object.fromEntries(bundles)
    const script = paths.map((path) => `node ${path}`).join('\n')
    const files = [...LAB, 'test/lab/agent.mjs']
    await Promise.all(
      SUITES.map(async (suite) => {
        const done = await runIn(suite, { script, texts, files, memoryMb: 1536, timeoutMs: TIMEOUT_MS })
        for (const line of done.told.split('\n').filter(Boolean)) {
          const one = JSON.parse(line) as Told
          told.set(`${suite} ${one.stage}`, one)
        }
        console.log(`${suite}:\n${done.printed}`)
      }),
    )
  })

  describe.each(SUITES)('on the kernel of %s', (suite) => {
    describe.each(PROGRAMS.flatMap(([, stages]) => stages))('$stage', ({ stage, rows, facts }) => {
      const found = (): Partial<Told> => told.get(`${suite} ${stage}`) ?? {}
      test.each(rows)('$name', ({ name, answer }) => {
        const given = found().answers?.[name]
        if (answer === null) expect(given).toBeTypeOf('string')
        else expect(given).toMatchObject(answer)
      })
      test.each(Object.entries(facts))('%s: %j', (name, value) => {
        expect(found().facts?.[name]).toEqual(value)
      })
    })
  })
}

/** What `vitest --reporter=json` tells. */
interface Report {
  numPassedTests: number
  testResults: {
    message: string
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
  }[]
}

function otherPackets(suite: Suite): void {
  test.each(FILES)('%s', async (file) => {
    const { stdout } = await execa('git', ['ls-files'])
    const limits = '--testTimeout=600000 --hookTimeout=600000'
    const { told, printed } = await runIn(suite, {
      script: `node node_modules/vitest/vitest.mjs run --project packets ${limits} --reporter=json --outputFile=/tmp/report ${file}
cat /tmp/report >&3`,
      files: [...stdout.split('\n').filter(Boolean), 'dist', 'node_modules'],
      memoryMb: 3072,
      timeoutMs: TIMEOUT_MS,
    })
    if (told === '') throw new Error(printed)
    const { numPassedTests, testResults } = JSON.parse(told) as Report
    console.log(`${suite}: ${file}: ${numPassedTests} passed`)
    const failed = testResults.flatMap(({ message, assertionResults }) => [
      ...(message === '' ? [] : [message]),
      ...assertionResults
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages.join().slice(0, 600)}`),
    ])
    expect(failed).toEqual([])
  })
}
