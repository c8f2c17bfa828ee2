/** An FTP server and client that do as much as the helper of connection tracking reads: PASV and PORT, EPSV and EPRT over IPv6. */
import type { Lab } from '../lab/index.ts'

/** On PASV or EPSV it gives `DATA` at a port of its own, on PORT or EPRT it brings `DATA` to the client's. */
const SERVER = `
const net = require('node:net')
net.createServer((control) => {
  control.on('error', () => undefined).write('220 ready\\r\\n')
  control.on('data', (chunk) => {
    const words = /^PORT (.*)\\r/.exec(chunk)?.[1].split(',')
    const extended = /^EPRT \\|2\\|(.*)\\|(.*)\\|\\r/.exec(chunk)
    const [to, at] = words ? [words.slice(0, 4).join('.'), words[4] * 256 + +words[5]] : (extended ?? []).slice(1)
    if (to) return net.connect(+at, to, function () { this.end('DATA') }).on('error', () => undefined)
    const data = net.createServer((one) => one.on('error', () => undefined).end('DATA'))
    const own = control.localAddress.replace('::ffff:', '')
    data.listen(0, own, () => {
      const { port } = data.address()
      const passive = '227 Entering Passive Mode (' + [...own.split('.'), port >> 8, port & 255].join(',') + ')'
      control.write((own.includes(':') ? '229 Entering Extended Passive Mode (|||' + port + '|)' : passive) + '\\r\\n')
    })
  })
}).listen(21, '::')`

/** Asks `MODE HOST PORT [LOCAL ADDRESS]` for data and prints it. */
const CLIENT = `
const [mode, host, port, localAddress] = process.argv.slice(1)
const net = require('node:net')
const show = (data) => data
  .on('data', (got) => { console.log(String(got)); process.exit() })
  .on('error', () => process.exit(1))
const control = net.connect({ port: Number(port), host, localAddress })
let text = ''
control.on('data', (chunk) => {
  text += chunk
  const isSix = host.includes(':')
  if (text.endsWith('220 ready\\r\\n') && mode === 'passive') control.write((isSix ? 'EPSV' : 'PASV') + '\\r\\n')
  if (text.endsWith('220 ready\\r\\n') && mode === 'active') {
    const own = control.localAddress
    const server = net.createServer(show).listen(0, own, () => {
      const { port } = server.address()
      const plain = 'PORT ' + [...own.split('.'), port >> 8, port & 255].join(',')
      control.write((isSix ? 'EPRT |2|' + own + '|' + port + '|' : plain) + '\\r\\n')
    })
  }
  const words = /227 .*\\((.*)\\)/.exec(text)?.[1].split(',')
  const extended = /229 .*\\(\\|\\|\\|(\\d+)\\|\\)/.exec(text)?.[1]
  if (words)
    show(net.connect({ port: Number(words[4]) * 256 + Number(words[5]), host: words.slice(0, 4).join('.'), localAddress }))
  if (extended) show(net.connect({ port: Number(extended), host, localAddress }))
})
control.on('error', () => process.exit(1))
setTimeout(() => process.exit(1), 1500)`

export type FtpMode = 'passive' | 'active'

/** A server at port 21 of a guest, until the lab ends. */
export function serveFtp(lab: Lab, name: string): void {
  lab.spawn(name, [process.execPath, '-e', SERVER])
}

/** The data that a server gives: `DATA`, or '' when no data connection came to be. */
export async function askFtp(
  lab: Lab,
  name: string,
  mode: FtpMode,
  host: string,
  port: number,
  from?: string,
): Promise<string> {
  const argv = [
    process.execPath,
    '-e',
    CLIENT,
    mode,
    host,
    String(port),
    ...(from === undefined ? [] : [from]),
  ]
  return (await lab.exec(name, argv, { check: false })).stdout.trim()
}
