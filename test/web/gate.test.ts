// Which requests are answered at all, by their line and headers.
import { expect, test } from 'vitest'
import { parseListen } from '../../src/commands/listen.ts'
import { judge, PATHS, type Asked } from '../../src/web/gate.ts'

const HOSTS = new Set(['localhost', '127.0.0.1', '[::1]', 'nat.example.net'])
const ask = (url: string, headers: Asked['headers'] = {}, method = 'GET') =>
  judge({ method, url, headers: { host: 'localhost:8186', ...headers } }, HOSTS)

test('each path is there, for GET and HEAD', () => {
  for (const path of PATHS) {
    const id = path === '/api/rule' ? 'a' : ''
    const url = path === '/api/rule' ? `${path}?id=a` : path
    expect(ask(url)).toEqual({ path, id })
    expect(ask(url, {}, 'HEAD')).toEqual({ path, id })
  }
})

test.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', ''])(
  '%s is refused',
  (method) => {
    expect(ask('/', {}, method)).toEqual({ refuse: 405 })
  },
)

test.each([
  '/../etc/passwd',
  '//',
  '/./',
  '/api/../',
  '/api/status/',
  '/API/status',
  '/%2e%2e/etc/passwd',
  '/app.js%00',
  '/api/status?x',
  '/?',
  '*',
  'http://localhost/',
  '/api/rule?id=a?id=b',
  '',
  '/api',
  '/\\',
  '/metrics;a',
])('%s is not there', (url) => {
  expect(ask(url)).toEqual({ refuse: 404 })
})

test('a rule is asked for by its id, one at a time', () => {
  expect(ask('/api/rule?id=105-a1b2c3')).toMatchObject({ path: '/api/rule', id: '105-a1b2c3' })
  for (const query of [
    '',
    'id=',
    'id=a b',
    'id=<b>',
    'ids=a',
    'id=a&id=b',
    'id=a%0alook',
    `id=${'a'.repeat(101)}`,
  ])
    expect(ask(`/api/rule?${query}`), query).toEqual({ refuse: 400 })
  expect(ask('/api/node?id=a')).toEqual({ refuse: 404 })
})

test.each([
  'evil.example',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  '10.0.0.1',
  '',
  'localhost:8186:1',
])('asked by the name %s it does not answer: a name that was made to lead here is not ours', (host) =>
  expect(ask('/', { host })).toEqual({ refuse: 421 }),
)

test.each(['localhost', 'LOCALHOST:9', '127.0.0.1:8186', '[::1]:8186', 'nat.example.net:443'])(
  'asked by the name %s it answers',
  (host) => expect(ask('/', { host })).toMatchObject({ path: '/' }),
)

test('another site may not ask, but may have a link to the page', () => {
  expect(ask('/api/list', { origin: 'https://evil.example' })).toEqual({ refuse: 403 })
  expect(ask('/api/list', { origin: 'null' })).toEqual({ refuse: 403 })
  expect(ask('/api/list', { origin: 'http://localhost:8187' })).toEqual({ refuse: 403 })
  expect(ask('/api/list', { origin: 'http://localhost:8186' })).toMatchObject({ path: '/api/list' })
  for (const site of ['cross-site', 'same-site'])
    for (const url of ['/api/list', '/', '/app.js'])
      expect(ask(url, { 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors' })).toEqual({ refuse: 403 })
  const link = { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  expect(ask('/', link)).toMatchObject({ path: '/' })
  expect(ask('/api/list', link)).toEqual({ refuse: 403 })
  expect(ask('/', { ...link, 'sec-fetch-dest': 'iframe' })).toEqual({ refuse: 403 })
})

test('bodies and long addresses are refused', () => {
  expect(ask('/', { 'content-length': '1' })).toEqual({ refuse: 400 })
  expect(ask('/', { 'transfer-encoding': 'chunked' })).toEqual({ refuse: 400 })
  expect(ask(`/${'a'.repeat(5000)}`)).toEqual({ refuse: 414 })
})

test('where a login is asked for, any name will do', () => {
  const host = 'pve1.example.net:8186'
  expect(judge({ method: 'GET', url: '/', headers: { host } }, undefined)).toMatchObject({ path: '/' })
  expect(judge({ method: 'GET', url: '/', headers: {} }, undefined)).toEqual({ refuse: 421 })
})

test.each([
  ['127.0.0.1:8186', { host: '127.0.0.1', port: 8186, local: true }],
  ['[::1]:80', { host: '::1', local: true }],
  ['0.0.0.0:8186', { local: false }],
  ['[::]:8186', { host: '::', local: false }],
  ['[::ffff:127.0.0.1]:1', { local: false }],
  ['203.0.113.2:443', { local: false }],
  ['unix:/run/pvenat-web/socket', { kind: 'unix', path: '/run/pvenat-web/socket', local: true }],
])('--listen %s', (text, expected) => {
  expect(parseListen(text)).toMatchObject(expected)
})

test.each([
  '8186',
  ':8186',
  'localhost:8186',
  '127.0.0.1',
  '127.0.0.1:99999',
  '127.1:80',
  'unix:socket',
  '::1:80',
  '',
])('--listen %s is refused', (text) => expect(() => parseListen(text)).toThrow('--listen takes'))
