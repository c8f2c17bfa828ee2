// What is published although the disk is full, or nothing can be opened for a moment.
import { readdirSync } from 'node:fs'
import { beforeEach, expect, test, vi } from 'vitest'
import { writeWhole } from '../../src/node/state.ts'
import { makeRunFolder } from '../../src/service/runfolder.ts'

vi.mock('../../src/node/state.ts', () => ({ writeWhole: vi.fn() }))
const written = vi.mocked(writeWhole)
const tries = () => written.mock.calls.map(([, name, text]) => `${name} ${text}`)
const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })

beforeEach(() => void written.mockReset().mockResolvedValue())

test('what could not be written is tried again, and told once', async () => {
  const warn = vi.fn()
  written.mockRejectedValueOnce(full).mockRejectedValueOnce(full)
  makeRunFolder('/run/pvenat', warn).write('status.json', 'a')
  await vi.waitFor(() => expect(tries()).toEqual(['status.json a', 'status.json a', 'status.json a']), 5000)
  expect(warn.mock.calls).toEqual([['cannot write into /run/pvenat: ENOSPC: no space left on device']])
})

test('one that finds no room keeps no other from being written', async () => {
  written.mockImplementation((_, name) => (name === 'list.json' ? Promise.reject(full) : Promise.resolve()))
  const folder = makeRunFolder('/run/pvenat', () => undefined)
  folder.write('list.json', 'long')
  folder.write('status.json', 'short')
  await folder.written()
  expect(tries()).toContain('status.json short')
})

test('of two texts for one file the later one stays', async () => {
  const folder = makeRunFolder('/run/pvenat', () => expect.unreachable())
  folder.write('status.json', 'before')
  folder.write('status.json', 'after')
  await folder.written()
  expect(tries().at(-1)).toBe('status.json after')
})

test('where nothing more can be opened, one file is given up for the other', async () => {
  const open = () => readdirSync('/proc/self/fd').length
  const before = open()
  const folder = makeRunFolder('/run/pvenat', () => expect.unreachable())
  written.mockRejectedValueOnce(Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }))
  written.mockImplementationOnce(() => Promise.resolve(expect(open()).toBe(before)))
  folder.write('status.json', 'a')
  await folder.written()
  expect(tries()).toEqual(['status.json a', 'status.json a'])
  expect(open()).toBe(before + 1)
})
