// What check says of a rule before any packet comes: the packet really does not pass, and passes when the help is typed.
import { beforeAll, expect, test } from 'vitest'
import { waitFor, type AskOptions } from '../lab/index.ts'
import * as ailments from './ailing.ts'
import { Daemon } from './daemon.ts'
import { onBothAtOnce } from './node.ts'
import { check } from './told.ts'

const CLUSTER = 'firewall/cluster.fw'
const FW_105 = 'firewall/105.fw'
const FW_108 = 'firewall/108.fw'
const HOST = 'nodes/pve1/host.fw'
const CONF_105 = 'nodes/pve1/lxc/105.conf'

interface Foreseen extends ailments.Ailment {
  /** Who asks whom, and who answers when all is well. */
  ask: [from: string, to: string, mended: object, options?: AskOptions]
  says: RegExp
  /** Where it is said, if rules of several files are meant. */
  file?: string
  /** Types what the help says. */
  type: (help: string) => Promise<unknown>
}

onBothAtOnce('what check says beforehand', (backend) => {
  const ailing = new ailments.Ailing(backend)
  const { node } = ailing
  const daemon = new Daemon(ailing)
  const paste = async (help: string): Promise<void> => {
    expect(help).toMatch(/^pvesh create /)
    expect((await ailing.mend({ breaks: () => Promise.resolve() }, [help])).exitCode).toBe(0)
  }
  const inCluster = (rule: string, from: RegExp = /^OUT/m): ailments.Ailment =>
    ailments.edited(CLUSTER, from, `${rule}\nOUT`)
  /** The file as it is now, changed. */
  const retype = (file: string, from: string | RegExp, to: string) =>
    node.edit(file, (text) => text.replace(from, to))

  const speakAsNode = async (help: string): Promise<void> => {
    expect(help).toContain('NAT 1022 snat=1 (with [guest 105] snat = yes')
    await node.edit('pvenat.conf', (text) => `${text}[guest 105]\nsnat = yes\n`)
    await retype(FW_105, 'NAT 1022', 'NAT 1022 snat=1')
  }

  const FORESEEN: Record<string, Foreseen> = {
    'guest-drops: a rule of the datacenter, a VM': {
      ...inCluster('IN ACCEPT -dest 10.10.10.107 -p tcp -dport 23 # NAT 2323'),
      ask: ['inet', '203.0.113.2:2323', { server: '107' }],
      says: /the firewall of guest 107 \(db\) does not let port 23\/tcp in: no rule is for it, and policy_in is DROP/,
      type: async (help) => {
        await paste(help)
        await ailing.sh('own -I tap107i0-IN 1 -d 10.10.10.107 -p tcp --dport 23 -j ACCEPT')
      },
      after: () => ailing.sh('own -D tap107i0-IN 1'),
    },
    'guest-drops: a rule of the node for one client, a container': {
      ...ailments.edited(
        HOST,
        /$/,
        '\n[RULES]\n\nIN ACCEPT -source 198.51.100.7 -dest 10.10.10.108 -p udp -dport 7 # NAT 7007\n',
      ),
      ask: ['inet', '203.0.113.2:7007/udp', { server: '108' }, { from: '198.51.100.7' }],
      says: /does not let port 7\/udp in/,
      type: async (help) => {
        expect(help).toContain('--source 198.51.100.7 --dest 10.10.10.108 --proto udp --dport 7')
        await paste(help)
        await ailing.sh('own -I veth108i0-IN 1 -s 198.51.100.7 -p udp --dport 7 -j ACCEPT')
      },
      after: () => ailing.sh('own -D veth108i0-IN 1'),
    },
    'guest-drops: a rule of its own file, above the one that is marked': {
      ...ailments.edited(
        'firewall/107.fw',
        '[RULES]\n',
        '[RULES]\n\nIN DROP -p tcp -dport 23\nIN ACCEPT -p tcp -dport 23 # NAT 2324\n',
      ),
      ask: ['inet', '203.0.113.2:2324', { server: '107' }],
      says: /does not let port 23\/tcp in: rule IN DROP \(107\.fw:\d+\)/,
      type: async (help) => {
        await paste(help)
        await ailing.sh('own -I tap107i0-IN 1 -d 10.10.10.107 -p tcp --dport 23 -j ACCEPT')
      },
      after: () => ailing.sh('own -D tap107i0-IN 1'),
    },
    'guest-cut: a NIC that is disconnected': {
      ...ailments.UNPLUGGED,
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /net0 of guest 105 \(\w+\) is disconnected/,
      type: async (help) => {
        expect(help).toBe('clear Disconnect at net0 of the guest (link_down=0)')
        await retype(CONF_105, 'link_down=1', 'link_down=0')
        await ailments.UNPLUGGED.after(ailing)
      },
    },
    'leads-nowhere: a typo in the destination': {
      ...inCluster('IN SSH(ACCEPT) -dest 10.10.11.105 # NAT 2325'),
      ask: ['inet', '203.0.113.2:2325', { server: '105' }],
      says: /forwarded to 10\.10\.11\.105 leaves by an external interface again/,
      type: async (help) => {
        expect(help).toMatch(
          /^correct the destination \(the internal networks are: 10\.10\.10\.0\/24\), .*: NAT 2325 snat=1$/,
        )
        await retype(CLUSTER, '10.10.11.105', '10.10.10.105')
      },
    },
    'answers-elsewhere: no gateway': {
      ...ailments.NO_GATEWAY,
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /guest 105 \(\w+\) has no gateway/,
      type: async (help) => {
        expect(help).toBe('make this node its gateway, at net0 and at no other: 10.10.10.1')
        await retype(CONF_105, 'ip=10.10.10.105/24', 'ip=10.10.10.105/24,gw=10.10.10.1')
        await ailments.NO_GATEWAY.after(ailing)
      },
    },
    'answers-elsewhere: another gateway': {
      ...ailments.OTHER_GATEWAY,
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /sends by net0 to 10\.10\.10\.254, past this node/,
      type: speakAsNode,
      after: () => node.lab.ip('105', ['route replace default via 10.10.10.1']),
    },
    'answers-elsewhere: the gateway is on another NIC': {
      ...ailments.twoNics('IN SSH(ACCEPT) # NAT 1022', 0),
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /sends by net1 to 203\.0\.113\.1, past this node/,
      type: speakAsNode,
    },
    'answers-elsewhere: what it sends leaves by another NIC': {
      ...ailments.twoNics('OUT ACCEPT # NAT'),
      ask: ['105', '203.0.113.1:443', { seenAs: '203.0.113.2' }],
      says: /sends by net1 to 203\.0\.113\.1, past this node/,
      type: async (help) => {
        expect(help).toBe('make this node its gateway, at net0 and at no other: 10.10.10.1')
        await retype(CONF_105, ',gw=203.0.113.1', '')
        await retype(CONF_105, 'ip=10.10.10.105/24', 'ip=10.10.10.105/24,gw=10.10.10.1')
        await ailing.sh('ip link del veth105i1')
        await node.lab.ip('105', ['route replace default via 10.10.10.1'])
      },
      after: () => node.lab.ip('105', ['route replace default via 10.10.10.1']),
    },
    'service-hidden': {
      breaks: async () => {
        await ailing.sh('own -I INPUT 1 -p tcp --dport 9105 -j ACCEPT')
        await node.lab.serve('pve', 'tcp', 9105)
        await inCluster(
          'IN ACCEPT -p tcp -dport 9105\nIN ACCEPT -dest 10.10.10.105 -p tcp # NAT 9104-9106',
        ).breaks(ailing)
      },
      ask: ['inet', '203.0.113.2:9105', { server: 'pve' }],
      says: /of this node is no longer reached at port 9105\/tcp/,
      type: async (help) => {
        expect(help).toBe('leave it to the node: NAT 9104,9106')
        await retype(CLUSTER, 'NAT 9104-9106', 'NAT 9104,9106')
      },
      after: async () => {
        await node.lab.unserve('pve', 'tcp', 9105)
        await ailing.sh('own -D INPUT 1')
      },
    },
    'forward-drops: a forward': {
      file: FW_105,
      breaks: () => daemon.dropsAll(FW_105, /IN SSH.*/, 'IN SSH(ACCEPT) # NAT 1022'),
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /the nftables firewall does not forward it: no rule is for it, and policy_forward is DROP/,
      type: async (help) => {
        await paste(help)
        await daemon.forwards('ip daddr 10.10.10.105 tcp dport 22')
      },
      after: () => daemon.end(),
    },
    'forward-drops: egress': {
      file: FW_105,
      breaks: () => daemon.dropsAll(FW_105, /IN SSH.*/, 'OUT ACCEPT # NAT'),
      ask: ['105', '203.0.113.1:443', { seenAs: '203.0.113.2' }],
      says: /the nftables firewall does not forward it/,
      type: async (help) => {
        expect(help).toContain('--source 10.10.10.105')
        await paste(help)
        await daemon.forwards('ip saddr 10.10.10.105')
      },
      after: () => daemon.end(),
    },
    'nft-sport': {
      file: FW_108,
      breaks: async () => {
        await daemon.start()
        await ailing.edit(FW_108, /GROUP .*/, 'IN ACCEPT -p tcp -dport 80 -sport 1080 # NAT')
        await daemon.lets('tcp sport 1080 tcp dport 80')
      },
      ask: ['inet', '203.0.113.2:1080', { server: '108' }],
      says: /a source port in the rule keeps clients out/,
      type: async (help) => {
        expect(help).toMatch(/^clear the source port .*: NAT 1080 with destination port 80$/)
        await retype(FW_108, '-sport 1080 # NAT', '# NAT 1080')
        await daemon.lets('tcp dport 80')
      },
      after: () => daemon.end(),
    },
    'network-unanswered': {
      ...inCluster('IN ACCEPT # NAT 203.0.113.108/31 full=1 to=10.10.10.108/31'),
      ask: ['inet', '203.0.113.108:80', { server: '108' }],
      says: /nobody there answers for its addresses/,
      type: async (help) => {
        expect(help).toMatch(/: ip route add local 203\.0\.113\.108\/31 dev lo$/)
        await node.sh(help.replace(/.*: /, ''))
      },
      after: () => node.sh('ip route del local 203.0.113.108/31 dev lo'),
    },
    'foreign-drops: a table of nft that lets pass only what was forwarded': {
      ...ailments.router('policy drop; ct state { established, related } accept; ct status dnat accept'),
      ask: ['105', '203.0.113.1:443', { seenAs: '203.0.113.2' }],
      says: /a rule that is not pvenat's drops what this rule lets out: nft list chain inet router forward: policy drop/,
      type: (help) => {
        expect(help).toBe('nft insert rule inet router forward ip saddr 10.10.10.0/24 oifname vmbr0 accept')
        return node.sh(help)
      },
    },
    'foreign-drops: a table of nft that refuses answers': {
      ...ailments.router('iifname vmbr1 tcp sport 22 reject'),
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /a rule that is not pvenat's drops the answers to what this rule forwards: nft -a list chain inet router forward: handle/,
      type: (help) => {
        expect(help).toBe('nft insert rule inet router forward ct state related,established accept')
        return node.sh(help)
      },
    },
    'foreign-drops: a raw table that spares a port from connection tracking': {
      breaks: () => ailing.sh('own -t raw -A PREROUTING -p tcp --dport 1022 -j CT --notrack'),
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /keeps from connection tracking what this rule forwards: iptables-\w+-save: raw -A PREROUTING/,
      type: (help) => {
        expect(help).toBe('change that rule')
        return ailing.sh('own -t raw -D PREROUTING -p tcp --dport 1022 -j CT --notrack')
      },
    },
    'external-none': {
      breaks: () =>
        ailing
          .sh('for via in 203.0.113.1 192.0.2.1 2001:db8:113::1; do ip route del default via $via; done')
          // An uplink is given up by the second look that misses its route.
          .then(() => node.pvenat.run('apply')),
      ask: ['inet', '203.0.113.2:1022', { server: '105' }],
      says: /this node has no external/,
      type: () => ailing.sh('ip route add default via 203.0.113.1'),
      after: () =>
        ailing.sh(
          'ip route add default via 192.0.2.1 dev eth1 metric 500; ip route add default via 2001:db8:113::1',
        ),
    },
    'snat-forbidden: -source with snat=1, which its firewall would not let in by the address that it sees': {
      ...ailments.edited(
        'firewall/107.fw',
        '[RULES]\n',
        '[RULES]\n\nIN ACCEPT -source 203.0.113.0/24 -p tcp -dport 22 # NAT 2207 snat=1\n',
      ),
      ask: ['inet', '203.0.113.2:2207', { server: '107', seenAs: '10.10.10.1' }],
      says: /may not speak as this node/,
      type: async (help) => {
        expect(help).toContain('section [guest 107]: snat = yes')
        await node.edit('pvenat.conf', (text) => `${text}[guest 107]\nsnat = yes\n`)
      },
    },
    'external-unknown: a typo in cluster.fw of a node that stands alone': {
      breaks: async () => {
        await ailing.sh(`echo '{"nodename": "pve1", "version": 3}' >${node.tree}/.members`)
        await inCluster('IN SSH(ACCEPT) -dest 10.10.10.105 # NAT 203.0.113.22:2222').breaks(ailing)
      },
      ask: ['inet', '203.0.113.2:2222', { server: '105' }],
      says: /203\.0\.113\.22 is not an external address of this node/,
      type: async (help) => {
        expect(help).toContain('the external addresses are: 203.0.113.2')
        await retype(CLUSTER, '203.0.113.22:2222', '203.0.113.2:2222')
      },
      after: () => ailing.sh(`rm ${node.tree}/.members`),
    },
  }

  beforeAll(() => node.serve('107:23/tcp', '108:7/udp', '105:9105/tcp'))

  test.each(Object.entries(FORESEEN))('%s', async (name, { ask, says, type, file = '', ...ailment }) => {
    const [code = ''] = name.split(':')
    const [from, to, mended, options] = ask
    const asks = () => node.call(from, to, { timeoutMs: 300, ...options })
    const told = async () =>
      (await check(node.pvenat)).filter((one) => one.code === code && one.file.endsWith(file))
    const listedReasons = async () => {
      const rows = JSON.parse((await node.pvenat.run('list', '--json')).stdout) as { reason: string }[]
      return rows.map(({ reason }) => reason).join('\n')
    }
    await ailing.during(ailment, async () => {
      // Files are not all that breaks.
      await node.pvenat.run('apply')
      const [answer, before] = await Promise.all([asks(), told()])
      expect(answer).not.toMatchObject(mended)
      expect(before.map(({ message }) => message).join('\n')).toMatch(says)
      // A rule that works for the guest, and keeps a service of the node from the outside, has no reason.
      if (code !== 'service-hidden') expect(await listedReasons()).toMatch(says)
      await type(before[0]?.help ?? '')
      await node.pvenat.run('apply')
      expect(await told()).toEqual([])
      await waitFor(async () => {
        expect(await asks()).toMatchObject(mended)
        return true
      })
      const [endpoint = '', proto = 'tcp'] = to.split('/')
      const source = options?.from ?? (from === 'inet' ? '203.0.113.1' : `10.10.10.${from}`)
      const { stdout, exitCode } = await node.pvenat.run('explain', proto, source, endpoint)
      expect(exitCode, stdout).toBe(0)
    })
  })
})
