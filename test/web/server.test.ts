// The server at its sockets: who gets something, and who gets nothing.
import { connect, type AddressInfo, type Socket } from 'node:net'
import { request as plain, type IncomingHttpHeaders } from 'node:http'
import { request as secure } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiAt } from '../../src/node/api.ts'
import { makeLive } from '../../src/web/live.ts'
import { makeLogin } from '../../src/web/login.ts'
import { makeWeb, type Door, type Web } from '../../src/web/server.ts'
import { waitFor } from '../lab/wait.ts'
import { RunFolder, told } from './published.ts'
import { Certificates, GOOD_COOKIE, GOOD_TOKEN, POOR_COOKIE, StandInApi } from './standin.ts'

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

let folder: RunFolder
const webs: Web[] = []
beforeAll(async () => {
  folder = await RunFolder.create(told(20, 7))
})
afterAll(async () => {
  for (const web of webs) web.close()
  await folder.remove()
})

async function serve(door: Door, pingMs?: number): Promise<number> {
  const web = makeWeb(makeLive(folder.dir), door, pingMs)
  webs.push(web)
  await new Promise<void>((resolve) => web.server.listen(0, '127.0.0.1', resolve))
  return (web.server.address() as AddressInfo).port
}

function get(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  tls = false,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path,
      headers,
      method,
      agent: false,
      rejectUnauthorized: false,
    }
    const asked = (tls ? secure : plain)(options, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
    asked.on('error', reject).end()
  })
}

const local: Door = { hosts: new Set(['localhost', '127.0.0.1']), login: undefined, tls: undefined }

describe('on the loopback', () => {
  let port: number
  beforeAll(async () => {
    port = await serve(local)
    await waitFor(async () => (await get(port, '/api/list')).body !== '[]')
  })

  /** What comes back for bytes that are sent as they are, until the other end closes or the time is over. */
  function raw(text: string, ms = 8000): Promise<{ text: string; isClosed: boolean; socket: Socket }> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      let heard = ''
      const timer = setTimeout(() => end(false), ms)
      const end = (isClosed: boolean): void => {
        clearTimeout(timer)
        socket.destroy()
        resolve({ text: heard, isClosed, socket })
      }
      socket.on('data', (data) => (heard += data.toString()))
      socket.on('error', () => end(true)).on('close', () => end(true))
    })
  }

  test('documents come whole, with the headers that keep others out', async () => {
    const { status, headers, body } = await get(port, '/api/list')
    expect(status).toBe(200)
    expect(JSON.parse(body)).toHaveLength(20)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cross-origin-opener-policy': 'same-origin',
    })
    expect(headers['content-security-policy']).toMatch(/^default-src 'none';.*frame-ancestors 'none'/)
    expect(headers['content-security-policy']).not.toMatch(/unsafe|\*|https?:/)
    expect(headers).not.toHaveProperty('access-control-allow-origin')
  })

  test('HEAD has no body', async () => {
    expect(await get(port, '/api/list', {}, 'HEAD')).toMatchObject({ status: 200, body: '' })
  })

  test('figures are there', async () => {
    const { headers, body } = await get(port, '/metrics')
    expect(headers['content-type']).toContain('version=0.0.4')
    expect(body).toContain('pvenat_in_step 1\n')
  })

  test.each([
    ['/', { host: 'evil.example' }, 421],
    ['/api/list', { origin: 'https://evil.example' }, 403],
    ['/api/events', { 'sec-fetch-site': 'cross-site' }, 403],
    ['/api/../../etc/passwd', {}, 404],
    ['/%2e%2e/%2e%2e/etc/passwd', {}, 404],
    ['/status.json', {}, 404],
    [`/${'x'.repeat(5000)}`, {}, 414],
  ])('%s with %j gets nothing', async (path, headers, status) => {
    const answer = await get(port, path, headers)
    expect(answer.status).toBe(status)
    expect(answer.body.length).toBeLessThan(200)
    expect(answer.body).not.toContain('10.10')
  })

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('%s gets nothing', async (method) => {
    expect(await get(port, '/api/list', {}, method)).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    })
  })

  test('headers of more than 8 KB end the connection', async () => {
    const { text, isClosed } = await raw(
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    )
    expect(isClosed).toBe(true)
    expect(text).not.toContain('200 OK')
  })

  test.each([
    [
      'two requests in disguise',
      'GET /api/list HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['no name', 'GET /api/list HTTP/1.1\r\n\r\n'],
    ['nonsense', '\0\x16\x03\x01\r\n\r\n'],
    ['a tunnel', 'CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ])('%s get nothing', async (_what, text) => {
    const answer = await raw(text)
    expect(answer.isClosed).toBe(true)
    expect(answer.text).not.toContain('200 OK')
  })

  test('whoever is slow to ask is left', async () => {
    const start = Date.now()
    const [silent, half] = await Promise.all([
      raw('', 9000),
      raw('GET / HTTP/1.1\r\nHost: localhost\r\nX: ', 9000),
    ])
    expect([silent.isClosed, half.isClosed]).toEqual([true, true])
    expect(Date.now() - start).toBeLessThan(8500)
    expect(silent.text + half.text).not.toContain('200 OK')
  }, 15_000)

  test('there are only so many streams, and others still get documents', async () => {
    const open = Array.from({ length: 40 }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write('GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
      return socket
    })
    await sleep(300)
    expect((await get(port, '/api/status')).status).toBe(200)
    for (const socket of open) socket.destroy()
  })

  test('who follows is told of what is new, within a second', async () => {
    let heard = ''
    const socket = connect(port, '127.0.0.1', () =>
      socket.write('GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    )
    socket.on('data', (data) => (heard += data.toString()))
    await waitFor(() => heard.includes('data: '))
    const before = heard.length
    await folder.say(told(21, 7))
    await waitFor(() => heard.slice(before).includes('"list"'), { timeoutMs: 1000 })
    await waitFor(async () => (JSON.parse((await get(port, '/api/list')).body) as unknown[]).length === 21)
    socket.destroy()
  })

  test('a connection that the system could not give ends nothing', () => {
    const { server } = webs[0] as Web
    for (let i = 0; i < 2; i++) expect(() => server.emit('error', new Error('accept ENFILE'))).not.toThrow()
  })

  test('a file that makes no sense shows nothing, and breaks nothing', async () => {
    await folder.write('status.json', '{"inStep": tru')
    await waitFor(async () => (await get(port, '/api/status')).body === 'null')
    expect(await get(port, '/api/list')).toMatchObject({ status: 200 })
    await folder.say(told(20, 7))
    await waitFor(async () => (await get(port, '/api/status')).body !== 'null')
  })
})

describe('beyond the loopback', () => {
  const certificates = new Certificates()
  let api: StandInApi
  let other: StandInApi
  let port: number
  const doorAt = (url: string): Door => ({
    hosts: undefined,
    login: makeLogin(apiAt(url, [`${certificates.dir}/local/pve-ssl.pem`]), 'pve1', () => performance.now()),
    tls: certificates.read('local'),
  })
  const ask = (path: string, headers: Record<string, string>) => get(port, path, headers, 'GET', true)

  beforeAll(async () => {
    api = await StandInApi.start(certificates.read('local'))
    other = await StandInApi.start(certificates.read('other'))
    port = await serve(doorAt(api.url))
    await waitFor(async () => (await ask('/api/list', { cookie: GOOD_COOKIE })).body !== '[]')
  })
  afterAll(() => {
    api.stop()
    other.stop()
    certificates.remove()
  })

  test('a ticket of the GUI or a token is let in', async () => {
    expect(await ask('/api/list', { cookie: GOOD_COOKIE })).toMatchObject({ status: 200 })
    expect(await ask('/metrics', { authorization: GOOD_TOKEN })).toMatchObject({ status: 200 })
  })

  test('everybody else gets the same nothing, whatever there is at the path', async () => {
    const wrong: Record<string, string>[] = [
      {},
      { cookie: 'PVEAuthCookie=' },
      { cookie: GOOD_COOKIE.replace('good', 'forged') },
      { cookie: GOOD_COOKIE.replace('root', 'toor') },
      { authorization: GOOD_TOKEN.replace('1234', '4321') },
      { authorization: 'Basic cm9vdDpyb290' },
    ]
    const bodies = new Set<string>()
    for (const headers of wrong)
      for (const path of [
        '/',
        '/app.js',
        '/metrics',
        '/api/list',
        '/api/events',
        '/api/rule?id=a',
        '/api/node',
      ]) {
        const { status, body } = await ask(path, headers)
        expect(status, `${path} ${JSON.stringify(headers)}`).toBe(401)
        bodies.add(body)
      }
    expect(bodies.size).toBe(1)
  })

  test('a login without Sys.Audit on the node is told what is missing, and no more', async () => {
    expect(await ask('/api/list', { cookie: POOR_COOKIE })).toMatchObject({
      status: 403,
      body: 'this needs the privilege Sys.Audit on this node\n',
    })
  })

  test('a stream ends soon after its login has ended, and the next request is refused', async () => {
    // Time goes by quickly for this login, so that no answer is kept.
    let ms = 0
    const login = makeLogin(
      apiAt(api.url, [`${certificates.dir}/local/pve-ssl.pem`]),
      'pve1',
      () => (ms += 60_000),
    )
    const quick = await serve({ ...doorAt(api.url), login }, 100)
    let isOver = false
    const stream = get(quick, '/api/events', { cookie: GOOD_COOKIE }, 'GET', true).then((answer) => {
      isOver = true
      return answer
    })
    const asked = api.asked.length
    await waitFor(() => api.asked.length > asked + 2)
    expect(isOver).toBe(false)
    api.hasEnded = true
    expect(await stream).toMatchObject({ status: 200 })
    expect(await get(quick, '/api/list', { cookie: GOOD_COOKIE }, 'GET', true)).toMatchObject({ status: 401 })
    expect(await get(quick, '/api/events', { cookie: GOOD_COOKIE }, 'GET', true)).toMatchObject({
      status: 401,
    })
    api.hasEnded = false
  })

  test('the API hears the one credential, and nothing else of the request', () => {
    const { headers, url } = api.asked[0] ?? { headers: {}, url: '' }
    expect(url).toBe('/api2/json/access/permissions?path=%2Fnodes%2Fpve1')
    expect(Object.keys(headers).sort()).toEqual(['connection', 'cookie', 'host'])
  })

  test('another who stands in for the API is not told the ticket, and lets nobody in', async () => {
    const strange = await serve(doorAt(other.url))
    const answer = await get(strange, '/api/list', { cookie: GOOD_COOKIE }, 'GET', true)
    expect(answer.status).toBe(503)
    expect(other.asked).toEqual([])
  })

  test('a source that opens hundreds of connections leaves room for others', async () => {
    const sockets = Array.from({ length: 200 }, () =>
      connect({ port, host: '127.0.0.1', localAddress: '127.0.0.66' }).on('error', () => undefined),
    )
    await waitFor(() => sockets.filter((one) => one.closed || one.destroyed).length >= 168)
    expect(await ask('/api/list', { cookie: GOOD_COOKIE })).toMatchObject({ status: 200 })
    for (const socket of sockets) socket.destroy()
  })

  test('without TLS there is nothing', async () => {
    await expect(get(port, '/', { cookie: GOOD_COOKIE })).rejects.toThrow()
  })
})
