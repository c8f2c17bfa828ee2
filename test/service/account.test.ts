// What the watch of the kernel knows: a change by others is never taken for known, and what a pass changes never for a change by others.
import { describe, expect, test } from 'vitest'
import { makeAccount, type Account } from '../../src/service/account.ts'

const right = () => Promise.resolve(false)

/** A pass that reads everything, does something, and ends well. */
function pass(account: Account, meanwhile: () => void = () => undefined): void {
  const passed = account.pass()
  account.reading()
  meanwhile()
  passed(true)
}

test('a pass that read everything settles what was noticed before', () => {
  const account = makeAccount()
  expect(account.isSettled()).toBe(false)
  account.notice()
  pass(account)
  expect(account.isSettled()).toBe(true)
  expect(account.isBehind()).toBe(false)
})

test('what is noticed after it has read is left for a glance, which settles it', async () => {
  const account = makeAccount()
  pass(account, account.notice)
  expect([account.isSettled(), account.isBehind()]).toEqual([false, true])
  expect(await account.compare(right)).toBe(false)
  expect(account.isSettled()).toBe(true)
})

test('one that read nothing, or failed, settles nothing', () => {
  const account = makeAccount()
  account.pass()(true)
  expect(account.isSettled()).toBe(false)
  const passed = account.pass()
  account.reading()
  passed(false)
  expect(account.isSettled()).toBe(false)
})

test('a glance that a pass overtook says nothing, for the pass changes what it looks at', async () => {
  const account = makeAccount()
  pass(account, account.notice)
  const seen = account.compare(async () => {
    pass(account, account.notice)
    return Promise.resolve(true)
  })
  expect(await seen).toBe(false)
  expect(account.isBehind()).toBe(true)
})

describe('only a pass that reads everything settles', () => {
  test('a doubt, also one that comes while it does', async () => {
    const account = makeAccount()
    pass(account, account.doubt)
    await account.compare(right)
    expect(account.isSettled()).toBe(false)
    pass(account)
    expect(account.isSettled()).toBe(true)
  })

  test('what a look could not find out', async () => {
    const account = makeAccount()
    pass(account, account.notice)
    expect(await account.compare(() => Promise.reject(new Error('no iptables-save')))).toBe(false)
    expect(account.isSettled()).toBe(false)
  })

  test('what was settled long ago', () => {
    let now = 0
    const account = makeAccount(() => now)
    pass(account, () => void (now += 20))
    expect(account.isSettled()).toBe(true)
    now += 500 * 20
    expect(account.isSettled()).toBe(false)
  })
})
