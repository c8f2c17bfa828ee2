import { setTimeout as sleep } from 'node:timers/promises'

export interface WaitOptions {
  /** Default 5000. */
  timeoutMs?: number
  /** Default 10. */
  intervalMs?: number
  /** What was waited for, for the message. */
  what?: string
}

/**
 * Polls until `fn` returns something truthy, and returns that. A throw of `fn` (a failed expectation, say)
 * counts as "not yet"; the last one is the cause of the error after the timeout.
 */
export async function waitFor<T>(
  fn: () => T | Promise<T>,
  { timeoutMs = 5000, intervalMs = 10, what = 'a condition' }: WaitOptions = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  let cause: unknown
  do {
    try {
      const value = await fn()
      if (value) return value
      cause = undefined
    } catch (error) {
      cause = error
    }
    await sleep(intervalMs)
  } while (Date.now() < deadline)
  const detail = cause instanceof Error ? `: ${cause.message}` : ''
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}${detail}`, { cause })
}
