// What explain says becomes of a packet is what becomes of it; and what it prints as the fix, pasted, mends it.
import { beforeAll, describe, expect, test } from 'vitest'
import { backends, type AskOptions } from '../lab/index.ts'
import { testNode } from './node.ts'

type Row = [from: string, source: string, to: string, says: RegExp, options?: AskOptions]

/** Who asks, as whom, whom; and what explain rests its verdict on. */
const ROWS: Row[] = [
  [
    'inet',
    '203.0.113.1',
    '203.0.113.2:822/tcp',
    /107\.fw:8 sends it to 10\.10\.10\.107:22[^]*accept of pvenat/,
  ],
  [
    'inet',
    '203.0.113.1',
    '203.0.113.2:8080/tcp',
    /cluster\.fw:22 sends it to 10\.10\.10\.108:80[^]*HTTP\(ACCEPT\)/,
  ],
  ['inet', '203.0.113.1', '203.0.113.2:15003/udp', /sends it to 10\.10\.10\.108:5003/],
  ['inet', '203.0.113.1', '203.0.113.2:1022/tcp', /10\.10\.10\.105:22[^]*no firewall=1/],
  ['inet', '198.51.100.7', '203.0.113.2:13306/tcp', /10\.10\.10\.107:3306/, { from: '198.51.100.7' }],
  [
    'inet',
    '192.0.2.9',
    '203.0.113.2:13306/tcp',
    /STOP.*107\.fw:9 .* for dc\/office only/,
    { from: '192.0.2.9' },
  ],
  ['inet', '203.0.113.1', '203.0.113.50:822/tcp', /crosses vmbr0 as it is, to guest 200/],
  ['inet', '203.0.113.1', '203.0.113.2:8006/tcp', /ends at this node itself: .* listens/],
  ['inet', '203.0.113.1', '203.0.113.2:9999/tcp', /107\.fw:10 asks for port 9999\/tcp.*switched off/],
  [
    'inet',
    '203.0.113.1',
    '203.0.113.2:8080/udp',
    /STOP.*cluster\.fw:22 forwards port 8080 for tcp, not for udp/,
  ],
  ['107', '10.10.10.107', '203.0.113.1:443/tcp', /seen as 203\.0\.113\.2, by cluster\.fw:17/],
  ['108', '10.10.10.108', '203.0.113.1:443/tcp', /seen as 203\.0\.113\.2/],
  ['105', '10.10.10.105', '203.0.113.1:443/tcp', /seen as 203\.0\.113\.2/],
  ['200', '203.0.113.50', '203.0.113.1:443/tcp', /stays on vmbr0/],
  ['105', '10.10.10.105', '203.0.113.2:822/tcp', /10\.10\.10\.107:22[^]*seen as 10\.10\.10\.1,/],
  ['105', '10.10.10.105', '203.0.113.2:8080/tcp', /10\.10\.10\.108:80/],
  ['107', '10.10.10.107', '203.0.113.2:8080/tcp', /10\.10\.10\.108:80/],
  ['107', '10.10.10.107', '203.0.113.2:822/tcp', /calls itself[^]*10\.10\.10\.107:22/],
  ['pve', '203.0.113.2', '203.0.113.2:8080/tcp', /node itself sends it[^]*10\.10\.10\.108:80/],
  ['105', '10.10.10.105', '10.10.10.107:3306/tcp', /STOP.*firewall of guest 107 \(db\) does not let it in/],
]

/** What depends on the backend is how rules are read; a row of each kind tells. */
const SOME = [0, 5, 10, 17].flatMap((i) => ROWS.slice(i, i + 1))

describe.each(backends)('explain on %s', (backend) => {
  const node = testNode(backend, {
    firewall: true,
    pvenat: 'apply',
    serve: [
      'inet:443/tcp',
      'pve:8006,9999/tcp',
      '105:22/tcp',
      '107:22,3306,9999/tcp',
      '108:80/tcp',
      '108:5003/udp',
      '200:822/tcp',
    ],
  })

  test.each(backend === 'legacy' ? ROWS : SOME)(
    '%s as %s asks %s',
    async (from, source, to, says, options) => {
      const [endpoint = '', proto = ''] = to.split('/')
      const [answer, { stdout, exitCode, stderr }] = await Promise.all([
        node.call(from, to, options),
        node.pvenat.run('explain', proto, source, endpoint),
      ])
      expect(stdout + stderr).toMatch(says)
      expect({ exitCode, stdout }).toMatchObject({ exitCode: typeof answer === 'string' ? 1 : 0 })
    },
  )
})

describe('what is not IPv4 with ports', () => {
  const node = testNode('legacy', {
    rules: {
      'firewall/cluster.fw': [
        'IN ACCEPT -dest 10.10.10.105 # NAT 203.0.113.7 full=1',
        'IN HTTP(ACCEPT) # NAT [2001:db8:113::2]:8005 to=fd10::105',
        'OUT ACCEPT -source fd10::105 # NAT',
      ],
    },
    serve: ['inet:443/tcp', '105:80/tcp', '105:4711/udp'],
    prepare: ({ lab }) => lab.ip('pve', ['addr add 203.0.113.7/24 dev vmbr0']),
  })
  beforeAll(() => node.pvenat.run('apply'))

  const explain = (...words: string[]) => node.pvenat.run('explain', ...words)

  test('IPv6, in and out', async () => {
    expect(await node.lab.ask('inet', 'tcp', '[2001:db8:113::2]:8005')).toMatchObject({ server: '105' })
    const inward = await explain('tcp', '2001:db8:113::1', '[2001:db8:113::2]:8005')
    expect(inward.stdout).toContain('sends it to [fd10::105]:80')
    expect(inward.exitCode, inward.stdout).toBe(0)
    expect(await node.lab.ask('105', 'tcp', '[2001:db8:113::1]:443')).toMatchObject({
      seenAs: '2001:db8:113::2',
    })
    const outward = await explain('tcp', 'fd10::105', '[2001:db8:113::1]:443')
    expect(outward.stdout).toContain('seen as 2001:db8:113::2')
    expect(outward.exitCode).toBe(0)
  })

  test('whatever arrives at an address that is the guest’s; a ping of the node’s', async () => {
    expect(await node.lab.ask('inet', 'udp', '203.0.113.7:4711')).toMatchObject({ server: '105' })
    const udp = await explain('udp', '203.0.113.1', '203.0.113.7:4711')
    expect(udp).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('10.10.10.105:4711') as string })
    // The same rule is for every protocol; nothing in the lab sends these.
    for (const proto of ['icmp', 'esp', '41']) {
      const { stdout, exitCode } = await explain(proto, '203.0.113.1', '203.0.113.7')
      expect(stdout).toMatch(/The forward of cluster\.fw:7 sends it to 10\.10\.10\.105\./)
      expect(exitCode).toBe(0)
    }
    const ping = await explain('icmp', '203.0.113.1', '203.0.113.2')
    expect(ping.stdout).toContain('ends at this node itself')
  })
})
