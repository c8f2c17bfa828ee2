// The families that a listening socket takes, of real sockets: /proc does not tell of IPV6_V6ONLY.
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { readListeners } from '../../src/node/listeners.ts'

const servers: Server[] = []
afterAll(() => Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve)))))

async function listen(host: string, ipv6Only = false): Promise<number> {
  const server = createServer()
  servers.push(server)
  await new Promise<void>((resolve) => server.listen({ host, port: 0, ipv6Only }, resolve))
  return (server.address() as AddressInfo).port
}

test('IPv4 alone, IPv6 alone, both', async () => {
  const ports = [await listen('0.0.0.0'), await listen('::', true), await listen('::')]
  const sockets = await readListeners()
  expect(ports.map((port) => sockets.find((one) => one.port === port)?.family)).toEqual([4, 6, undefined])
})
