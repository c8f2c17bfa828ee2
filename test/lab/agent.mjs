// The process that keeps one namespace of the lab alive and speaks from inside it.
// Commands come as JSON lines on stdin: {id, op, ...}; answers go as JSON lines to stdout: {id, value} or {id, error}.
// When stdin ends, so does the agent, and with it the namespace and all that was in it.
import { execFileSync } from 'node:child_process'
import dgram from 'node:dgram'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { createInterface } from 'node:readline'

const [name] = process.argv.slice(2)
const listeners = new Map()
const streams = new Map()
const flows = new Map()
let lastNumber = 0

// A namespace of one's own for files, too: an empty /run (locks), /etc and /var/lib that swallow writes, and a
// /sys that shows this network namespace.
function makeFilesPrivate() {
  const mount = (...args) => execFileSync('mount', args)
  mount('-t', 'tmpfs', 'tmpfs', '/run')
  mkdirSync('/run/lock')
  for (const [dir, at] of [
    ['/etc', '/run/.overlay/etc'],
    ['/var/lib', '/run/.overlay/var-lib'],
  ]) {
    for (const part of ['upper', 'work']) mkdirSync(`${at}/${part}`, { recursive: true })
    mount('-t', 'overlay', '-o', `lowerdir=${dir},upperdir=${at}/upper,workdir=${at}/work`, 'overlay', dir)
  }
  mount('-t', 'sysfs', 'sysfs', '/sys')
}

const plain = (address) => address.replace(/^::ffff:/, '')

/** What a failed connection means to the one who asked; anything else is a mistake in the test. */
function meaning(error) {
  if (['ECONNREFUSED', 'ECONNRESET'].includes(error.code)) return 'refused'
  if (['EHOSTUNREACH', 'ENETUNREACH', 'EACCES'].includes(error.code)) return 'unreachable'
  if (['ETIMEDOUT', 'EPERM'].includes(error.code)) return 'nothing'
  throw error
}

/**
 * A promise and its settling, with `nothing` as its value after a time. What arrived in time and was not read yet, because
 * this process did not run, is read first: timers come before sockets in Node.js's loop, immediates behind them.
 */
function answerWithin(timeoutMs) {
  const answer = {}
  answer.promise = new Promise((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(resolve, 'nothing'), timeoutMs)
    answer.give = (value) => (clearTimeout(timer), resolve(value))
    answer.fail = (error) => {
      clearTimeout(timer)
      try {
        resolve(meaning(error))
      } catch {
        reject(error)
      }
    }
  })
  return answer
}

function listenTcp(key, port, host) {
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.write(`${name} ${socket.localPort} ${plain(socket.remoteAddress ?? '-')} ${socket.remotePort}\n`)
    socket.pipe(socket)
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => resolve(listeners.set(key, server)))
  })
}

function listenUdp(key, port, address) {
  const type = address.includes(':') ? 'udp6' : 'udp4'
  const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6' })
  socket.on('message', (message, from) => {
    socket.send(`${name} ${port} ${from.address} ${from.port} ${message}`, from.port, from.address, () => {})
  })
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ address, port }, () => {
      socket.removeListener('error', reject).on('error', () => {})
      resolve(listeners.set(key, socket))
    })
  })
}

/** Every local address: a UDP server needs a socket for each, or it would answer from the wrong one. */
function ownAddresses() {
  const all = Object.values(networkInterfaces()).flat()
  return all.map((item) => item.address).filter((address) => !address.startsWith('fe80:'))
}

async function listen({ proto, port, address }) {
  const addresses = address ? [address] : proto === 'tcp' ? ['::'] : ownAddresses()
  for (const one of addresses) {
    const key = `${proto} ${port} ${one}`
    if (!listeners.has(key)) await (proto === 'tcp' ? listenTcp : listenUdp)(key, port, one)
  }
}

function unlisten({ proto, port }) {
  for (const [key, server] of listeners) {
    if (!key.startsWith(`${proto} ${port} `)) continue
    server.close()
    listeners.delete(key)
  }
}

/** Connects and waits for the server's line; the stream's echoes are given to `onLine` of the stream afterwards. */
async function connectTcp({ host, port, from, fromPort, timeoutMs }) {
  const greeting = answerWithin(timeoutMs)
  const socket = net.connect({ host, port, localAddress: from, localPort: fromPort })
  const stream = { socket, onLine: greeting.give }
  createInterface({ input: socket })
    .on('line', (line) => stream.onLine(line))
    .on('error', () => {}) // from Node.js 20 on it repeats those of the socket
  socket.on('error', greeting.fail).on('close', () => greeting.give('refused'))
  const line = await greeting.promise.catch((error) => (socket.destroy(), Promise.reject(error)))
  return { stream, line }
}

async function openStream(question) {
  const { stream, line } = await connectTcp(question)
  const id = ++lastNumber
  streams.set(id, stream)
  return { id, line }
}

function pingStream({ stream: id, timeoutMs, bytes }) {
  const stream = streams.get(id)
  if (!stream || stream.socket.destroyed) return false
  const pong = answerWithin(timeoutMs)
  const token = `ping ${++lastNumber}`.padEnd(bytes, '.')
  stream.onLine = (line) => line === token && pong.give(true)
  const closed = () => pong.give(false)
  stream.socket.once('close', closed)
  stream.socket.write(`${token}\n`)
  return pong.promise.then((value) => (stream.socket.off('close', closed), value === true))
}

function closeStream({ stream: id }) {
  streams.get(id)?.socket.resetAndDestroy()
  streams.delete(id)
}

function openFlow({ host, port, from, fromPort }) {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const flow = { socket, waiting: new Map() }
  const id = ++lastNumber
  return new Promise((resolve, reject) => {
    socket.on('error', (error) => {
      for (const answer of flow.waiting.values()) answer.fail(error)
      reject(error)
    })
    socket.on('message', (message) => {
      const words = String(message).split(' ')
      flow.waiting.get(words.pop())?.give(words.join(' '))
    })
    socket.bind({ port: fromPort ?? 0, address: from }, () => {
      socket.connect(port, host, (error) => (error ? reject(error) : resolve(id)))
    })
    flows.set(id, flow)
  })
}

function askFlow({ flow: id, timeoutMs }) {
  const flow = flows.get(id)
  const answer = answerWithin(timeoutMs)
  const token = String(++lastNumber)
  flow.waiting.set(token, answer)
  flow.socket.send(token, (error) => error && answer.fail(error))
  return answer.promise.finally(() => flow.waiting.delete(token))
}

function closeFlow({ flow: id }) {
  flows.get(id)?.socket.close()
  flows.delete(id)
}

async function ask(question) {
  if (question.proto === 'tcp') {
    const { stream, line } = await connectTcp(question)
    stream.socket.resetAndDestroy()
    return line
  }
  const flow = await openFlow(question).catch(meaning)
  if (typeof flow === 'string') return flow
  return askFlow({ flow, timeoutMs: question.timeoutMs }).finally(() => closeFlow({ flow }))
}

function read({ paths }) {
  return paths.map((path) => {
    try {
      return readFileSync(path, 'utf8').trim()
    } catch {
      return null
    }
  })
}

function write({ files }) {
  for (const [path, text] of Object.entries(files)) writeFileSync(path, text)
}

const list = ({ path }) => readdirSync(path)
const ready = () => true

const ops = {
  ready,
  ask,
  listen,
  unlisten,
  openStream,
  pingStream,
  closeStream,
  openFlow,
  askFlow,
  closeFlow,
}
Object.assign(ops, { read, write, list })

async function obey({ id, op, ...args }) {
  let answer
  try {
    answer = { id, value: await ops[op](args) }
  } catch (error) {
    answer = { id, error: `${name}: ${op}: ${error.message}` }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

makeFilesPrivate()
createInterface({ input: process.stdin })
  .on('line', (line) => void obey(JSON.parse(line)))
  .on('close', () => process.exit(0))
