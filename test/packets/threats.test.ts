// "Could this be abused?": each threat of docs/abuse.md is tried by guest 105, and the packets go where they should.
import { expect, test } from 'vitest'
import { saveLikeGui, waitFor } from '../lab/index.ts'
import { onBothAtOnce, testNode } from './node.ts'

const OWN_FILE = 'firewall/105.fw'
const OWN = 'IN HTTP(ACCEPT) # NAT 3105'
const CONF = 'nodes/pve1/lxc/105.conf'

interface Threat {
  /** Lines of 105.fw, or whole files. */
  rules?: string[]
  files?: Record<string, (text: string) => string>
  /** What the tenant is told. */
  says?: RegExp
  /** `ADDRESS:PORT` → who answers when the internet asks; undefined: nobody. */
  asked: Record<string, string | undefined>
}

const THREATS: Record<string, Threat> = {
  'takes the port of the GUI': {
    rules: ['IN HTTP(ACCEPT) # NAT 8006'],
    says: /port 8006\/tcp belongs to this node \(pveproxy\)[\s\S]*help: pick a free port: NAT 8008/,
    asked: { '203.0.113.2:8006': 'pve' },
  },
  'takes the port of ssh, in a range': {
    rules: ['IN ACCEPT -p tcp # NAT 20-30'],
    says: /port 22\/tcp belongs to this node \(ssh\)/,
    asked: { '203.0.113.2:22': 'pve' },
  },
  'takes a port on which a service of the node listens': {
    rules: ['IN HTTP(ACCEPT) # NAT 9100'],
    says: /port 9100\/tcp belongs to this node \(/,
    asked: { '203.0.113.2:9100': 'pve' },
  },
  'takes the port of another guest, with a lower VMID': {
    rules: ['IN HTTP(ACCEPT) # NAT 3000'],
    says: /external port 3000\/tcp is already forwarded by 108\.fw:7/,
    asked: {},
  },
  'forwards to another guest': {
    rules: [
      'IN ACCEPT -dest 10.10.10.107 -p tcp -dport 22 # NAT 4001',
      'IN ACCEPT -p tcp -dport 22 # NAT 4002 to=10.10.10.107',
    ],
    says: /10\.10\.10\.107 is not an address of guest 105/,
    asked: { '203.0.113.2:4001': undefined, '203.0.113.2:4002': undefined },
  },
  'forwards to the node itself, inside': {
    rules: [
      'IN ACCEPT -p tcp -dport 8006 # NAT 4001 to=10.10.10.1',
      'IN ACCEPT -p tcp -dport 8006 # NAT 4002 to=127.0.0.1',
    ],
    says: /10\.10\.10\.1 is not an address of guest 105/,
    asked: { '203.0.113.2:4001': undefined, '203.0.113.2:4002': undefined },
  },
  'forwards to the internet': {
    rules: ['IN ACCEPT -p tcp -dport 4444 # NAT 4001 to=198.51.100.7 snat=1'],
    says: /198\.51\.100\.7 is not an address of guest 105/,
    asked: { '203.0.113.2:4001': undefined },
  },
  'takes the address by which the node is known': {
    rules: ['IN ACCEPT # NAT 203.0.113.2 full=1'],
    says: /port 22\/tcp belongs to this node/,
    asked: { '203.0.113.2:8006': 'pve', '203.0.113.2:22': 'pve', '203.0.113.2:80': undefined },
  },
  'takes a whole address of the node: its services stay': {
    rules: ['IN ACCEPT # NAT 203.0.113.7 full=1'],
    says: /this node keeps .*9100\/tcp/,
    asked: {
      '203.0.113.7:8006': 'pve',
      '203.0.113.7:22': 'pve',
      '203.0.113.7:9100': 'pve',
      '203.0.113.7:3000': '108',
    },
  },
  'takes the IPv6 address by which the node is known, which is not the newest': {
    rules: ['IN ACCEPT # NAT 2001:db8:113::2 full=1'],
    says: /2001:db8:113::2/,
    asked: { '[2001:db8:113::2]:8006': 'pve', '[2001:db8:113::2]:80': undefined },
  },
  'takes a protocol that a program of the node uses': {
    rules: ['IN ACCEPT -p gre # NAT'],
    says: /protocol gre belongs to this node \(a raw socket\)/,
    asked: {},
  },
  'reads from a machine that trusts the node, as the node': {
    rules: ['IN ACCEPT -dest 203.0.113.50 -p tcp -dport 80 # NAT 12049 snat=1'],
    files: { [CONF]: (text) => text.replace('10.10.10.105', '203.0.113.50') },
    says: /snat=1|203\.0\.113\.50/,
    asked: { '203.0.113.2:12049': undefined },
  },
  'uses an external address that is not the node’s': {
    rules: ['IN HTTP(ACCEPT) # NAT 203.0.113.50:80', 'IN ACCEPT # NAT 203.0.113.50 full=1'],
    says: /203\.0\.113\.50 is not an external address of this node/,
    asked: { '203.0.113.50:80': '200' },
  },
  'writes the address of another guest into its config': {
    rules: ['IN SSH(ACCEPT) # NAT 4001'],
    files: { [CONF]: (text) => text.replace('10.10.10.105', '10.10.10.107') },
    // Its own MAC is still seen at its own address, and that is where everything of it leads.
    asked: { '203.0.113.2:4001': '105' },
  },
  'writes an address of the internet into its config': {
    rules: ['IN ACCEPT -p tcp -dport 4444 # NAT 4001'],
    files: { [CONF]: (text) => text.replace('10.10.10.105', '198.51.100.7') },
    asked: { '203.0.113.2:4001': undefined },
  },
  'copies the MAC of another guest': {
    rules: ['IN SSH(ACCEPT) # NAT 4001'],
    files: {
      [CONF]: (text) => text.replace('BC:24:11:00:01:05', 'BC:24:11:00:01:07').replace(/ip=[^,]*/, 'ip=dhcp'),
    },
    says: /no address is known for net0 of guest 105/,
    asked: { '203.0.113.2:4001': undefined, '203.0.113.2:3105': undefined },
  },
  'exempts ports of another guest': {
    rules: ['IN HTTP(ACCEPT) -dest 10.10.10.108 # NAT none'],
    says: /10\.10\.10\.108 is not an address of guest 105/,
    asked: {},
  },
  'writes rules behind a line feed in a comment': {
    rules: [
      'IN HTTP(ACCEPT) # NAT 3106 x\n[RULES]\nIN ACCEPT -dest 10.10.10.107 -p tcp -dport 22 # NAT 4001\n[group webserver]\nIN SSH(ACCEPT) # NAT 4002',
    ],
    says: /10\.10\.10\.107 is not an address of guest 105/,
    // The group header is none here, so its rule is the guest's own, and leads to the guest.
    asked: { '203.0.113.2:3106': '105', '203.0.113.2:4001': undefined, '203.0.113.2:4002': '105' },
  },
  'writes shell and restore syntax': {
    rules: [
      'IN HTTP(ACCEPT) # NAT 3106 $(touch /run/owned) `touch /run/owned` ; touch /run/owned',
      'IN HTTP(ACCEPT) # NAT 3107 " -j ACCEPT\rCOMMIT\x00*filter\v-F FORWARD owned',
      'IN HTTP(ACCEPT) -source 1.2.3.4;reboot # NAT 3108',
    ],
    asked: { '203.0.113.2:3106': '105', '203.0.113.2:3107': '105', '203.0.113.2:3108': undefined },
  },
  'writes ten thousand rules': {
    rules: Array.from(
      { length: 10_000 },
      (_, i) => `IN ACCEPT -p tcp -dport 80 -source 198.51.${i >> 8}.${i & 255} # NAT 9200-59000`,
    ),
    says: /guest 105 \(plain\) has more than 250 rules marked NAT; this rule and its rules before it are not in force/,
    // Its own first rule stands above them.
    asked: { '203.0.113.2:3105': undefined },
  },
}

onBothAtOnce('abuse', (backend) => {
  const node = testNode(backend, {
    rules: {
      'firewall/107.fw': ['IN SSH(ACCEPT) # NAT 2207'],
      'firewall/108.fw': ['IN HTTP(ACCEPT) # NAT 3000'],
      [OWN_FILE]: [OWN],
    },
    serve: [
      'pve:22,8006,9100/tcp',
      'inet:443,4444/tcp',
      ...['105', '107', '108', '200'].map((guest) => `${guest}:22,80,443/tcp`),
    ],
    prepare: async ({ lab }) => {
      await lab.ip('pve', ['addr add 203.0.113.7/24 dev vmbr0', 'addr add 2001:db8:113::7/64 dev vmbr0'])
      const raw = lab.spawn('pve', ['perl', '-e', 'socket(S, 2, 3, 47); $| = 1; print "has it\\n"; sleep'])
      await raw.says(/has it/)
      // Its MAC is seen at its own address.
      await lab.ask('105', 'tcp', '10.10.10.1:8006')
      for (const file of [CONF, OWN_FILE]) texts.set(file, await node.text(file))
    },
    pvenat: 'apply',
  })
  const texts = new Map<string, string>()

  const server = async (endpoint: string) => {
    const answer = await node.lab.ask('inet', 'tcp', endpoint, { timeoutMs: 300 })
    return typeof answer === 'string' ? undefined : answer.server
  }

  test.each(Object.entries(THREATS))('105 %s', async (_, { rules = [], files = {}, says, asked }) => {
    try {
      await node.save(OWN_FILE, OWN, ...rules)
      for (const [file, change] of Object.entries(files))
        await saveLikeGui(node.tree, file, change(texts.get(file) ?? ''))
      const { exitCode, stderr } = await node.pvenat.run('apply')
      if (says) expect(stderr).toMatch(says)
      if (says && !/this node keeps/.test(says.source)) expect(exitCode).toBe(1)
      const rightful = { '203.0.113.2:3000': '108', '203.0.113.2:2207': '107', '203.0.113.2:3105': '105' }
      const wanted = { ...rightful, ...asked }
      const found = await Promise.all(
        Object.keys(wanted).map(async (endpoint) => [endpoint, await server(endpoint)] as const),
      )
      expect(Object.fromEntries(found)).toEqual(wanted)
      expect(await node.sh(`iptables-${backend}-save`)).not.toMatch(/owned|touch|reboot/)
      expect(await node.sh('ls /run')).not.toContain('owned')
    } finally {
      for (const [file, text] of texts) await saveLikeGui(node.tree, file, text)
      await node.pvenat.run('apply')
    }
  })

  test('105 sends from, or decides over, the address of another guest: it leaves as before', async () => {
    for (const word of ['203.0.113.7', 'none', '']) {
      await node.save(OWN_FILE, OWN, `OUT ACCEPT -source 10.10.10.107 # NAT ${word}`)
      expect((await node.pvenat.run('apply')).stderr).toMatch(
        /10\.10\.10\.107 is not an address of guest 105/,
      )
      expect(await node.lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
    }
    await node.save(OWN_FILE, OWN, 'OUT ACCEPT -source 0.0.0.0/0 # NAT 203.0.113.7')
    expect((await node.pvenat.run('apply')).stderr).toMatch(/is not an address of guest 105/)
    expect(await node.lab.ask('107', 'tcp', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
    await node.save(OWN_FILE, OWN)
  })

  test('the service needs the capabilities of its unit and no more; what it writes is root’s, or its group may read it', async () => {
    await node.pvenat.run('rollback')
    const caps = ['--bounding-set=-all,+net_admin,+net_raw,+setfcap', '--inh-caps=-all']
    const service = node.lab.spawn('pve', ['setpriv', ...caps, '--', ...node.pvenat.argv('run')])
    await service.says(/in force: /)
    expect(await server('203.0.113.2:3000')).toBe('108')
    await node.save(OWN_FILE, OWN, 'IN HTTP(ACCEPT) # NAT 3106')
    await waitFor(async () => (await server('203.0.113.2:3106')) === '105')
    const modes = {
      '/var/lib/pvenat': '700 root',
      '/run/pvenat': '750 root',
      '/var/lib/pvenat/state.json': '600 root',
      '/run/pvenat/status.json': '640 root',
    }
    const found = await node.sh(`stat -c '%a %U' ${Object.keys(modes).join(' ')}`)
    expect(found.split('\n')).toEqual(Object.values(modes))
    expect(service.stdout + service.stderr).not.toMatch(/EPERM|EACCES|not permitted|denied/)
    expect(await service.stop()).toMatchObject({ exitCode: 0 })
  })
})
