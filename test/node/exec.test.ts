// A child can be missing, hang, leave children of its own, or not be started at all for want of memory or descriptors.
import { spawnSync } from 'node:child_process'
import { expect, test, vi } from 'vitest'
import { hold, run } from '../../src/node/exec.ts'

const trouble = vi.hoisted(() => ({ code: '' }))
vi.mock('node:child_process', async (original) => {
  const real = await original<typeof import('node:child_process')>()
  // Node.js throws for what it does not expect of the kernel, and tells the rest by an event.
  const guard =
    <A extends unknown[], R>(start: (...args: A) => R) =>
    (...args: A): R => {
      if (trouble.code !== '') throw new Error(`spawn ${trouble.code}`)
      return start(...args)
    }
  return { ...real, execFile: guard(real.execFile), spawn: guard(real.spawn) }
})

test('input goes in, output and the exit code come out', async () => {
  expect(await run('sh', ['-c', 'cat; echo no >&2; exit 3'], 'some\n')).toEqual({
    code: 3,
    stdout: 'some\n',
    stderr: 'no\n',
  })
})

test('a program that is missing', async () => {
  expect(await run('no-such-program', [])).toMatchObject({
    code: 127,
    stderr: expect.stringContaining('no-such-program ENOENT') as string,
  })
  expect(await hold('no-such-program', [])).toBeUndefined()
})

test('one that hangs is killed, and its own children are not waited for', async () => {
  const start = performance.now()
  const hung = await run('sh', ['-c', 'trap "" TERM; sleep 5; echo'], '', { timeoutMs: 200 })
  expect(hung).toEqual({ code: 124, stdout: '', stderr: 'sh did not end within 0.2 s' })
  expect(performance.now() - start).toBeLessThan(4000)
})

test('input that nobody reads does no harm', async () => {
  expect(await run('true', [], 'x'.repeat(1 << 20))).toMatchObject({ code: 0 })
})

test('no memory for a child', async () => {
  trouble.code = 'ENOMEM'
  expect(await run('true', [])).toEqual({ code: 127, stdout: '', stderr: 'spawn ENOMEM' })
  expect(await hold('sleep', ['5'])).toBeUndefined()
  trouble.code = ''
})

test('no file descriptor for a child', () => {
  // In a process of its own: this one needs its descriptors.
  const script = `
    import { openSync } from 'node:fs'
    import { hold, run } from './dist/exec.mjs'
    try { for (;;) openSync('/dev/null') } catch {}
    const held = await hold('sleep', ['5'])
    process._rawDebug(JSON.stringify([await run('true', []), held ?? null]))
    process.exit(0)`
  spawnSync('npx', [
    'esbuild',
    'src/node/exec.ts',
    '--format=esm',
    '--platform=node',
    '--outfile=dist/exec.mjs',
  ])
  const { stderr } = spawnSync(
    'prlimit',
    ['--nofile=64', process.execPath, '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  )
  expect(JSON.parse(stderr)).toEqual([
    { code: 127, stdout: '', stderr: expect.stringContaining('EMFILE') as string },
    null,
  ])
})
