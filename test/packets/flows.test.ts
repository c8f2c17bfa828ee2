// Thousands of stale UDP flows, as a DNS or game server has them: they end, right ones stay, and repair does not wait for it.
import { describe, expect, test } from 'vitest'
import { backends, now, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

const MANY = 20_000
/** Any answer to a breach of NAT. */
const REPAIR_MS = 1000

describe.each(backends)('stale flows on %s', (backend) => {
  const node = testNode(backend, {
    rules: {
      'firewall/105.fw': ['IN ACCEPT -p udp -dport 53 # NAT 5353'],
      'firewall/107.fw': ['IN ACCEPT -p udp -dport 54 # NAT 5454'],
    },
    pvenat: 'run',
  })

  /** Puts flows of as many clients into conntrack: to a port of the node, answered by `ADDRESS PORT`, in a zone. */
  const flowsTo = async (port: number, [address, answerPort]: [string, number], count: number, zone = 0) => {
    const flow = `-A -w ${zone} -p udp -s %s -d 203.0.113.2 -r ${address} -q %s --sport 4000 --dport ${port} --reply-port-src ${answerPort} --reply-port-dst 4000 -t 600 -u SEEN_REPLY,ASSURED`
    await node.sh(`awk 'BEGIN { for (i = 0; i < ${count}; i++) {
        a = "198.18." int(i / 256) "." i % 256; printf "${flow}\\n", a, a } }' | conntrack -R - >/dev/null`)
  }
  const count = async (port: number, answer: string, zone = 0) =>
    Number(
      await node.sh(
        `conntrack -L -p udp -w ${zone} --dport ${port} --reply-src ${answer} 2>/dev/null | grep -c . || true`,
      ),
    )

  test('20,000 of them end while somebody keeps flushing our rules; all others stay', async () => {
    await node.converged()
    await flowsTo(5353, ['10.10.10.105', 53], MANY)
    // The twin of a flow on a firewall bridge, with the same addresses and ports: it is untranslated there.
    await flowsTo(5353, ['203.0.113.2', 5353], 500, 1)
    await flowsTo(5454, ['10.10.10.107', 54], 500)
    await node.save('firewall/105.fw', 'IN ACCEPT -p udp -dport 55 # NAT 5353')
    const own = await moved('--dport 5353.*:55')
    await repairsMeanwhile(own)
    await ended(0)
    expect(await count(5353, '203.0.113.2', 1)).toBe(500)
    expect(await count(5454, '10.10.10.107')).toBe(500)
  }, 60_000)

  test('a forward that shuts out every second network of its clients keeps the flows of the others', async () => {
    await flowsTo(5353, ['10.10.10.105', 55], 4096)
    await node.save(
      'firewall/105.fw',
      'IN ACCEPT -source 198.18.0.0/22,198.18.8.0/22 -p udp -dport 55 # NAT 5353',
    )
    await ended(2048)
    expect(await count(5454, '10.10.10.107')).toBe(500)
  }, 60_000)

  test('packets of a guest that begin before their rule are translated when it comes', async () => {
    await node.serve('inet:443/tcp', 'inet:53/udp')
    const cluster = await node.text('firewall/cluster.fw')
    await node.edit('firewall/cluster.fw', (text) => text.replace('# NAT guests', '# NAT none guests'))
    await node.converged()
    const flow = await node.lab.flow('105', '203.0.113.1:53')
    expect(await flow.ask(300)).toBe('nothing')
    const stream = node.lab.stream('105', '203.0.113.1:443', { timeoutMs: 15_000 })
    await waitFor(() => node.sh('conntrack -L -p tcp --state SYN_SENT 2>/dev/null | grep " dport=443 "'))
    await node.edit('firewall/cluster.fw', () => cluster)
    const translated = { server: 'inet', seenAs: '203.0.113.2' }
    await waitFor(async () => (expect(await flow.ask(200)).toMatchObject(translated), true))
    expect((await stream).answer).toMatchObject(translated)
    await Promise.all([flow.close(), (await stream).close()])
  })

  test('one stale flow ends alone: entries that differ from it in one field stay', async () => {
    const stale = {
      proto: 'udp',
      zone: 0,
      client: '198.19.7.1',
      sport: 4000,
      to: '203.0.113.2',
      dport: 6060,
      port: 60,
    }
    // Answers tell entries apart, too. Those of another client and of another port of the client come from where they should.
    const others = [
      { zone: 1 },
      { zone: 2 },
      { proto: 'tcp' },
      { to: '203.0.113.7', port: 62 },
      { dport: 6061, port: 63 },
      { sport: 4001, port: 61 },
      { client: '198.19.7.2', port: 61 },
    ].map((part) => ({ ...stale, ...part }))
    const rule = 'IN ACCEPT -p udp -dport 61 # NAT 6060'
    await node.save('firewall/108.fw', rule)
    await moved('--dport 6060.*:61')
    // The stale one comes last: a look that sees it sees them all.
    for (const { proto, zone, client, sport, to, dport, port } of [...others, stale])
      await node.sh(
        `conntrack -I -p ${proto} -w ${zone} -s ${client} -d ${to} -r 10.10.10.108 -q ${client} --sport ${sport} --dport ${dport} \
          --reply-port-src ${port} --reply-port-dst ${sport} -t 600 ${proto === 'tcp' ? '--state ESTABLISHED' : ''} -u SEEN_REPLY,ASSURED`,
      )
    const entries = async () =>
      (await node.sh('conntrack -L 2>/dev/null'))
        .split('\n')
        .filter((line) => line.includes(' src=198.19.7.'))
    // Any edit has all flows looked at.
    await node.save('firewall/108.fw', rule, 'IN ACCEPT -p udp -dport 62 # NAT 6062')
    await waitFor(async () => (await entries()).length <= others.length, { timeoutMs: 40_000 })
    const left = await entries()
    expect(left).toHaveLength(others.length)
    const same = / src=198\.19\.7\.1 dst=203\.0\.113\.2 sport=4000 dport=6060 /
    expect(left.filter((line) => line.startsWith('udp') && same.test(line) && !/ zone=/.test(line))).toEqual(
      [],
    )
  }, 60_000)

  /** Waits until a rule like this is in force; tells what is ours then. */
  const moved = async (rule: string) => {
    await waitFor(() => node.sh(`iptables-${backend}-save -t nat | grep -E -- '${rule}'`), {
      timeoutMs: 10_000,
    })
    return (await node.parts()).own
  }
  /** Flushes one chain after the other: a chain that goes again and again is repaired less and less often. */
  const repairsMeanwhile = async (own: string) => {
    const repairs: number[] = []
    for (const chain of ['nat -F PVENAT-PREROUTING', 'raw -F PVENAT-ZONE', 'nat -F PVENAT-OUTPUT']) {
      const from = now()
      await node.sh(`iptables-${backend} -w -t ${chain}`)
      repairs.push(await node.repaired(own, from))
    }
    const median = repairs.sort((a, b) => a - b)[1] as number
    expect(median, `${repairs.join()} ms`).toBeLessThan(await node.fair(REPAIR_MS, median))
  }
  const ended = (left: number) =>
    waitFor(async () => (await count(5353, '10.10.10.105')) === left, {
      timeoutMs: 40_000,
      intervalMs: 200,
      what: `all but ${left} flows to end`,
    })
})
