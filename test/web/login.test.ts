// Who may see the page beyond the loopback.
import type { IncomingHttpHeaders } from 'node:http'
import { expect, test } from 'vitest'
import type { AskApi, Credential } from '../../src/node/api.ts'
import { credentialOf, makeLogin } from '../../src/web/login.ts'

const TICKET = 'PVEAuthCookie=PVE%3Aroot%40pam%3A656F1A2B%3A%3Aq1w2e3=='
const TOKEN = 'PVEAPIToken=graph@pve!grafana=12345678-1234-1234-1234-1234567890ab'
const may = (privileges: object): string => JSON.stringify({ data: { '/nodes/pve1': privileges } })

/** A login over an API that answers so, with a clock that is set by hand. */
function stand(answer: AskApi) {
  const asked: [string, Credential][] = []
  const now = { ms: 0 }
  const ask: AskApi = (path, credential) => {
    asked.push([path, credential])
    return answer(path, credential)
  }
  const judge = makeLogin(ask, 'pve1', () => now.ms)
  const login = (headers: IncomingHttpHeaders, source = '192.0.2.1') => judge(headers, source)
  return { login, asked, now }
}

const good: AskApi = () => Promise.resolve({ status: 200, body: may({ 'Sys.Audit': 0, 'VM.Audit': 1 }) })

test('the cookie of the GUI and a token are taken as they are, and nothing else of the request', () => {
  expect(credentialOf({ cookie: `a=b; ${TICKET}; c=d` })).toEqual({ header: 'cookie', value: TICKET })
  expect(credentialOf({ cookie: `PVEAuthCookie=x; __Host-${TICKET}` })).toMatchObject({
    value: `__Host-${TICKET}`,
  })
  expect(credentialOf({ authorization: TOKEN })).toEqual({ header: 'authorization', value: TOKEN })
})

test.each([
  {},
  { cookie: 'PVEAuthCookie=' },
  { cookie: 'PVEAuthCookie=root@pam' },
  { cookie: `PVEAuthCookie=PVE:${'a'.repeat(5000)}` },
  { cookie: `X${TICKET}` },
  { cookie: `PMGAuthCookie=PMG:root` },
  { authorization: 'Basic cm9vdDpyb290' },
  { authorization: 'PVEAPIToken=root@pam' },
  { authorization: `${TOKEN}\r\nX: y` },
  { authorization: 'Basic x', cookie: TICKET },
])('%j is no credential, and the API is not asked', async (headers) => {
  const { login, asked } = stand(good)
  expect(await login(headers)).toBe('unknown')
  expect(asked).toEqual([])
})

test('Sys.Audit on the node is what counts', async () => {
  const { login, asked } = stand(good)
  expect(await login({ cookie: TICKET })).toBe('good')
  expect(asked[0]).toEqual([
    '/api2/json/access/permissions?path=%2Fnodes%2Fpve1',
    { header: 'cookie', value: TICKET },
  ])
})

test.each([
  [200, may({ 'VM.Audit': 1 }), 'poor'],
  [200, '{"data":{}}', 'poor'],
  [200, JSON.stringify({ data: { '/': { 'Sys.Audit': 1 } } }), 'poor'],
  [200, 'Sys.Audit', 'poor'],
  [401, may({ 'Sys.Audit': 1 }), 'unknown'],
  [500, may({ 'Sys.Audit': 1 }), 'busy'],
  [302, may({ 'Sys.Audit': 1 }), 'busy'],
])('an answer %i %s makes it %s', async (status, body, standing) => {
  const { login } = stand(() => Promise.resolve({ status, body }))
  expect(await login({ cookie: TICKET })).toBe(standing)
})

test('an API that cannot be asked lets nobody in, and is asked again at once', async () => {
  const { login, asked } = stand(() => Promise.reject(new Error('refused')))
  expect(await login({ cookie: TICKET })).toBe('busy')
  expect(await login({ cookie: TICKET })).toBe('busy')
  expect(asked).toHaveLength(2)
})

test('an answer holds for seconds, a bad one for fewer', async () => {
  let isGood = true
  const { login, asked, now } = stand((...words) =>
    isGood ? good(...words) : Promise.resolve({ status: 401, body: '' }),
  )
  expect(await login({ cookie: TICKET })).toBe('good')
  isGood = false
  now.ms = 9_000
  expect(await login({ cookie: TICKET })).toBe('good')
  now.ms = 10_001
  expect(await login({ cookie: TICKET })).toBe('unknown')
  isGood = true
  now.ms = 12_100
  expect(await login({ cookie: TICKET })).toBe('good')
  expect(asked).toHaveLength(3)
})

test('of many forged ones the API sees a few at a time, and one person asks once', async () => {
  const waiting: (() => void)[] = []
  const { login, asked } = stand(
    () =>
      new Promise((resolve) => {
        waiting.push(() => resolve({ status: 401, body: '' }))
      }),
  )
  const forged = Array.from({ length: 50 }, (_, i) => login({ cookie: `PVEAuthCookie=PVE:root@pam:${i}` }))
  const same = [
    login({ cookie: 'PVEAuthCookie=PVE:root@pam:0' }),
    login({ cookie: 'PVEAuthCookie=PVE:root@pam:0' }),
  ]
  for (const answer of waiting) answer()
  const standings = await Promise.all([...forged, ...same])
  expect(asked.length).toBeLessThanOrEqual(8)
  expect(standings).not.toContain('good')
})

const ticket = (name: string) => ({ cookie: `PVEAuthCookie=PVE:${name}@pam:1` })

test('while the API is busy its last good answer stands for some minutes, a bad one does not', async () => {
  let answer = good
  const { login, now } = stand((...words) => answer(...words))
  expect(await login(ticket('ann'))).toBe('good')
  answer = () => Promise.resolve({ status: 596, body: '' })
  now.ms = 60_000
  expect(await login(ticket('ann'))).toBe('good')
  expect(await login(ticket('bob'))).toBe('busy')
  answer = () => Promise.resolve({ status: 401, body: '' })
  expect(await login(ticket('ann'))).toBe('unknown')
  answer = () => Promise.reject(new Error('hangs'))
  now.ms = 70_000
  expect(await login(ticket('ann'))).toBe('busy')
  answer = good
  expect(await login(ticket('bob'))).toBe('good')
  answer = () => Promise.reject(new Error('hangs'))
  now.ms += 5 * 60_000
  expect(await login(ticket('bob'))).toBe('busy')
})

test('the questions of one source leave room for others', async () => {
  const waiting: (() => void)[] = []
  const { login } = stand((...words) => new Promise((resolve) => waiting.push(() => resolve(good(...words)))))
  const forged = Array.from({ length: 50 }, (_, i) => login(ticket(`x${i}`), '192.0.2.66'))
  const other = login(ticket('ann'), '192.0.2.1')
  for (const answer of waiting) answer()
  expect(await other).toBe('good')
  expect((await Promise.all(forged)).filter((one) => one === 'busy')).toHaveLength(46)
})

test('thousands of forged tickets push no good one out', async () => {
  const isAnn = (value: string) => value.includes('ann')
  const { login, asked } = stand((path, { header, value }) =>
    isAnn(value) ? good(path, { header, value }) : Promise.resolve({ status: 401, body: '' }),
  )
  expect(await login(ticket('ann'))).toBe('good')
  for (let i = 0; i < 2500; i++) await login(ticket(`x${i}`))
  const before = asked.length
  expect(await login(ticket('ann'))).toBe('good')
  expect(asked).toHaveLength(before)
})
