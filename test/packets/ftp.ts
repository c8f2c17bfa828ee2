/** An FTP server and client that do as much as the helper of connection tracking reads: PASV and PORT over IPv4. */
import type { Lab } from '../lab/index.ts'

/** On PASV it gives `DATA` at a port of its own, on PORT it brings `DATA` to the client's. */
const SERVER = `
const net = require('node:net')
net.createServer((control) => {
  control.on('error', () => undefined).write('220 ready\\r\\n')
  control.on('data', (chunk) => {
    const words = /^PORT (.*)\\r/.exec(chunk)?.[1].split(',')
    if (words) {
      net.connect(Number(words[4]) * 256 + Number(words[5]), words.slice(0, 4).join('.'), function () { this.end('DATA') })
        .on('error', () => undefined)
      return
    }
    const data = net.createServer((one) => one.on('error', () => undefined).end('DATA'))
    data.listen(0, control.localAddress.replace('::ffff:', ''), () => {
      const { port } = data.address()
      const words = [...control.localAddress.replace('::ffff:', '').split('.'), port >> 8, port & 255]
      control.write('227 Entering Passive Mode (' + words.join(',') + ')\\r\\n')
    })
  })
}).listen(21, '0.0.0.0')`

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
  if (text.endsWith('220 ready\\r\\n') && mode === 'passive') control.write('PASV\\r\\n')
  if (text.endsWith('220 ready\\r\\n') && mode === 'active') {
    const server = net.createServer(show).listen(0, control.localAddress, () => {
      const { port } = server.address()
      control.write('PORT ' + [...control.localAddress.split('.'), port >> 8, port & 255].join(',') + '\\r\\n')
    })
  }
  const words = /227 .*\\((.*)\\)/.exec(text)?.[1].split(',')
  if (words)
    show(net.connect({ port: Number(words[4]) * 256 + Number(words[5]), host: words.slice(0, 4).join('.'), localAddress }))
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
