// A stand-in for the node's API, and certificates for it and for the page.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder like /etc/pve with the certificate of the node, and one with another of the same name. */
export class Certificates {
  readonly dir = mkdtempSync(join(tmpdir(), 'pvenat-pve-'))

  constructor() {
    for (const name of ['local', 'other']) {
      mkdirSync(join(this.dir, name))
      const [key, cert] = [join(this.dir, name, 'pve-ssl.key'), join(this.dir, name, 'pve-ssl.pem')]
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
      const words = [
        'req',
        '-x509',
        ...curve,
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '2',
        '-subj',
        '/CN=pve1',
      ]
      execFileSync('openssl', words, { stdio: 'ignore' })
    }
  }

  read(name: 'local' | 'other'): { key: Buffer; cert: Buffer } {
    const file = (end: string): Buffer => readFileSync(join(this.dir, name, `pve-ssl.${end}`))
    return { key: file('key'), cert: file('pem') }
  }

  remove(): void {
    rmSync(this.dir, { recursive: true })
  }
}

export const GOOD_COOKIE = 'PVEAuthCookie=PVE%3Aroot%40pam%3A65000000%3A%3Agood'
export const POOR_COOKIE = 'PVEAuthCookie=PVE%3Aguest%40pve%3A65000000%3A%3Apoor'
export const GOOD_TOKEN = 'PVEAPIToken=graph@pve!grafana=12345678-1234-1234-1234-1234567890ab'

/** The node's API as far as it is asked. */
export class StandInApi {
  readonly asked: { url: string; headers: Record<string, unknown> }[] = []
  /** Every ticket and token has ended. */
  hasEnded = false

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(pair: { key: Buffer; cert: Buffer }): Promise<StandInApi> {
    const server = createServer(pair)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const api = new StandInApi(server, `https://127.0.0.1:${(server.address() as AddressInfo).port}`)
    server.on('request', ({ url = '', headers }, response) => {
      api.asked.push({ url, headers })
      const isGood = headers.cookie === GOOD_COOKIE || headers.authorization === GOOD_TOKEN
      if (api.hasEnded || (!isGood && headers.cookie !== POOR_COOKIE)) response.writeHead(401).end()
      else response.end(JSON.stringify({ data: { '/nodes/pve1': isGood ? { 'Sys.Audit': 1 } : {} } }))
    })
    return api
  }

  stop(): void {
    this.server.close()
    this.server.closeAllConnections()
  }
}
