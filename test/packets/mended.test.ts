// Something is really broken, explain names it, and what explain prints as the fix mends it when it is pasted.
import { expect, test } from 'vitest'
import { waitFor } from '../lab/index.ts'
import * as ailments from './ailing.ts'

const { edited } = ailments
const ailing = new ailments.Ailing()
const { node } = ailing
const FW_105 = 'firewall/105.fw'
const CLUSTER = 'firewall/cluster.fw'

interface Broken extends ailments.Ailment {
  /** Who asks, as whom, whom. */
  ask: [from: string, source: string, to: string]
  says: RegExp
  /** There is no line that mends it. */
  hopeless?: true
}

const NOTHING: ailments.Ailment = { breaks: () => Promise.resolve() }

const SSH: Broken['ask'] = ['inet', '203.0.113.1', '203.0.113.2:1022']
const OUT: Broken['ask'] = ['105', '10.10.10.105', '203.0.113.1:443']

const BROKEN: Record<string, Broken> = {
  'the jump is gone': {
    breaks: () => ailing.sh('legacy -t nat -D PREROUTING -j PVENAT-PREROUTING'),
    ask: SSH,
    says: /not in force: there is no jump from PREROUTING/,
  },
  'a chain was flushed': {
    ...ailments.CHAIN_FLUSHED,
    ask: SSH,
    says: /rule \d+ of chain PVENAT-DNAT is missing/,
  },
  'masquerading was flushed': {
    breaks: () => ailing.sh('legacy -t nat -F PVENAT-POSTROUTING'),
    ask: OUT,
    says: /rule 1 of chain PVENAT-POSTROUTING is missing/,
  },
  'the loop is gone': {
    ...ailments.LOOP_GONE,
    ask: ['107', '10.10.10.107', '203.0.113.2:822'],
    says: /interfaces by which guests reach themselves are missing or down: pvenat0, pvenat1/,
  },
  'the rule is switched off': {
    ...edited(FW_105, 'IN SSH', '|IN SSH'),
    ask: SSH,
    says: /105\.fw:7 asks for port 1022\/tcp, but it is not in force: the rule is switched off/,
  },
  'a rule of a group is switched off': {
    ...edited(CLUSTER, 'IN HTTP(', '|IN HTTP('),
    ask: ['inet', '203.0.113.1', '203.0.113.2:8080'],
    says: /cluster\.fw:22 asks for port 8080\/tcp.*switched off/,
  },
  'the firewall of the guest is off': {
    ...edited(FW_105, 'enable: 1', 'enable: 0'),
    ask: SSH,
    says: /the firewall of guest 105 is off/,
    after: () => ailing.sh('rm -r /etc/pvenat'),
  },
  'the answer goes to another gateway': {
    ...ailments.OTHER_GATEWAY,
    ask: SSH,
    says: /sends by net0 to 10\.10\.10\.254, past this node, so nothing is translated/,
  },
  'the answer goes to another gateway, and snat=1 is allowed': {
    breaks: async () => {
      await ailing.edit('pvenat.conf', /$/, '\n[guest 105]\nsnat = yes\n')
      await ailments.OTHER_GATEWAY.breaks(ailing)
    },
    ask: SSH,
    says: /sends by net0 to 10\.10\.10\.254, past this node, so nothing is translated/,
    after: () => ailments.OTHER_GATEWAY.follows(ailing),
  },
  'a guest goes out by another gateway': {
    ...ailments.OTHER_GATEWAY,
    ask: OUT,
    says: /sends by net0 to 10\.10\.10\.254, past this node, so nothing is translated/,
  },
  'the node does not forward': {
    ...ailments.NO_FORWARDING,
    ask: SSH,
    says: /does not forward IPv4 packets/,
  },
  'the interface of the guest is down': {
    breaks: () => ailing.sh('ip link set veth105i0 down'),
    ask: SSH,
    says: /The interface veth105i0 is down/,
  },
  'the NIC of the guest is disconnected': {
    ...edited('nodes/pve1/qemu-server/107.conf', /^net0: .*/m, '$&,link_down=1'),
    // As QEMU does: the interface on the node stays up, and no frame passes.
    thenBreaks: () => ailing.sh('bridge link set dev tap107i0 state 0'),
    ask: ['inet', '203.0.113.1', '203.0.113.2:822'],
    says: /net0 of guest 107 \(db\) is disconnected/,
    follows: () => ailing.sh('bridge link set dev tap107i0 state 3'),
    after: () => ailing.sh('bridge link set dev tap107i0 state 3'),
  },
  'somebody else answers for the address': {
    ...ailments.STRANGER_ANSWERS,
    ask: SSH,
    says: /go to 02:00:00:00:00:99, but guest 105 \(plain\) is BC:24:11:00:01:05/,
  },
  'the firewall of the guest drops it': {
    ...NOTHING,
    ask: ['105', '10.10.10.105', '10.10.10.107:3306'],
    says: /firewall of guest 107 \(db\) does not let it in: no rule is for it, and policy_in is DROP/,
    follows: () => ailing.sh('legacy -I tap107i0-IN 1 -s 10.10.10.105 -p tcp --dport 3306 -j ACCEPT'),
    after: () => ailing.sh('legacy -D tap107i0-IN 1'),
  },
  'nothing lets the guest out': {
    ...edited(CLUSTER, /^OUT .*\n/m, ''),
    ask: OUT,
    says: /Nothing translates its source, so it would leave by vmbr0 as 10\.10\.10\.105/,
  },
  'the rule that lets guests out is off': {
    ...edited(CLUSTER, 'OUT ACCEPT', '|OUT ACCEPT'),
    ask: OUT,
    says: /cluster\.fw:17 would translate it, but it is not in force/,
  },
  'the other backend drops': {
    ...ailments.OTHER_BACKEND_DROPS,
    ask: SSH,
    says: /policy of FORWARD is DROP in the other backend, iptables-nft/,
  },
  'the network is isolated': {
    ...edited('nodes/pve1/host.fw', /$/, '\n[RULES]\nOUT REJECT -source 10.10.10.0/24 # NAT\n'),
    ask: OUT,
    says: /isolates this network/,
    hopeless: true,
  },
  'strict reverse path filtering': {
    ...ailments.STRICT_FILTER,
    ask: ['inet', '198.51.100.7', '192.0.2.2:1022'],
    says: /Strict reverse path filtering on eth1 drops clients whose route leads by another interface/,
  },
  'the source is another one': {
    ...edited(FW_105, 'IN SSH(ACCEPT)', 'IN SSH(ACCEPT) -source 198.51.100.7'),
    ask: SSH,
    says: /105\.fw:7 forwards port 1022\/tcp for 198\.51\.100\.7 only/,
    hopeless: true,
  },
  'not from inside': {
    ...edited(FW_105, 'NAT 1022', 'NAT 1022 hairpin=0'),
    ask: ['107', '10.10.10.107', '203.0.113.2:1022'],
    says: /105\.fw:7 forwards port 1022\/tcp for what comes from outside only/,
    hopeless: true,
  },
  'at another address only': {
    ...edited(FW_105, 'NAT 1022', 'NAT 192.0.2.2:1022'),
    ask: SSH,
    says: /105\.fw:7 forwards port 1022\/tcp at 192\.0\.2\.2 only/,
    hopeless: true,
  },
  'the comment is wrong': {
    ...edited(FW_105, 'NAT 1022', 'NAT 1022 to=10.10.10.107'),
    ask: SSH,
    says: /105\.fw:7 asks for port 1022\/tcp, but it is in error: 10\.10\.10\.107 is not an address of guest 105/,
    hopeless: true,
  },
  'nobody has the address': {
    ...NOTHING,
    ask: ['inet', '203.0.113.1', '203.0.113.77:1022'],
    says: /203\.0\.113\.77 is not an address of this node/,
    hopeless: true,
  },
  'nobody claims the port': {
    ...NOTHING,
    ask: ['inet', '203.0.113.1', '203.0.113.2:4711'],
    says: /No rule that is marked NAT claims 203\.0\.113\.2:4711\/tcp[^]*nothing listens/,
    hopeless: true,
  },
}

interface Said {
  gets: string
  steps: { verdict: string; sentence: string; fix?: { commands: string[]; instead?: string } }[]
}

test.each(Object.entries(BROKEN))('%s', async (_, { ask, says, hopeless, ...ailment }) => {
  const [from, source, to] = ask
  const asks = async () => typeof (await node.call(from, to, { from: source, timeoutMs: 300 }))
  const explain = async (): Promise<Said> =>
    JSON.parse((await node.pvenat.run('explain', 'tcp', source, to, '--json')).stdout) as Said
  await ailing.during(ailment, async () => {
    const [answer, said] = await Promise.all([asks(), explain()])
    expect({ answer, gets: said.gets }).toEqual({ answer: 'string', gets: 'stopped' })
    expect(said.steps.map(({ sentence }) => sentence).join('\n')).toMatch(says)
    const commands = said.steps.at(-1)?.fix?.commands ?? []
    if (hopeless) return expect(commands.join()).toMatch(/^(pvenat check)?$/)
    const done = await ailing.mend(ailment, commands)
    expect(done.exitCode, `${commands.join('\n')}\n${done.stderr}`).toBe(0)
    expect(await explain()).toMatchObject({ gets: 'through' })
    await waitFor(async () => (await asks()) === 'object', { what: 'the packet to get through' })
  })
})

test('another guest has the port: the packet goes there, and explain names the rule that lost', async () => {
  const rule = 'IN ACCEPT -p tcp -dport 9 # NAT 1022'
  await ailing.during(edited('firewall/107.fw', '[RULES]\n', `[RULES]\n${rule}\n`), async () => {
    const { stdout, exitCode } = await node.pvenat.run('explain', 'tcp', '203.0.113.1', '203.0.113.2:1022')
    expect(stdout).toMatch(
      /105\.fw:7 sends it to 10\.10\.10\.105:22[^]*107\.fw:\d+ asks for it, too, and is beaten/,
    )
    expect(exitCode).toBe(0)
  })
})

test('what makes no sense is said in one line', async () => {
  for (const words of [
    ['tcp', '1.2.3.4'],
    ['tcp', '1.2.3.4', '203.0.113.2'],
    ['tcp', '1.2.3.4', '[2001:db8::1]:80'],
    ['icmp', '1.2.3.4', '203.0.113.2:80'],
    ['quic', '1.2.3.4', '203.0.113.2:80'],
  ]) {
    const { stderr, exitCode } = await node.pvenat.run('explain', ...words)
    expect({ exitCode, lines: stderr.trim().split('\n').length }).toEqual({ exitCode: 2, lines: 1 })
  }
})
