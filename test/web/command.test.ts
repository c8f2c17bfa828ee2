// `pvenat web` as a command: what happens around it must not end it, and what it cannot do it must not wait for.
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest'
import { cli } from '../../src/cli.ts'
import { waitFor } from '../lab/wait.ts'
import { Certificates } from './standin.ts'

const certificates = new Certificates()
const thrown: unknown[] = []
const note = (error: unknown): void => void thrown.push(error)
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  process.on('unhandledRejection', note)
})
afterEach(() => {
  vi.useRealTimers()
  process.off('unhandledRejection', note)
})
afterAll(() => certificates.remove())

/** Starts it; `said` is what it prints on both. */
function web(listen: string): { ended: Promise<number>; said: () => string } {
  let said = ''
  const say = (text: string): void => void (said += text)
  const argv = ['web', '--listen', listen, '--pve-dir', certificates.dir]
  return { ended: cli(argv, { stdout: say, stderr: say, isTerminal: false }), said: () => said }
}

test('a certificate that is half renewed is not taken, and nothing ends', async () => {
  const { ended, said } = web('0.0.0.0:0')
  await waitFor(() => said().includes('the page is at'))
  writeFileSync(join(certificates.dir, 'local', 'pve-ssl.key'), certificates.read('other').key)
  vi.advanceTimersByTime(60_000)
  await new Promise((resolve) => setTimeout(resolve, 300))
  process.emit('SIGTERM')
  expect(await ended).toBe(0)
  expect(thrown).toEqual([])
})

test('where the address is taken it says so and ends', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { ended, said } = web(`127.0.0.1:${(other.address() as AddressInfo).port}`)
  expect(await ended).toBe(1)
  expect(said()).toContain('EADDRINUSE')
  expect(vi.getTimerCount()).toBe(0)
  other.close()
})
