// Hand-written lines of an interfaces file move over in four commands; packets answer the same before, meanwhile and afterwards.
import { beforeAll, expect, test } from 'vitest'
import { commandsOf } from '../docs/commands.ts'
import { makeFixer, Prober, waitFor } from '../lab/index.ts'
import { onBothAtOnce, testNode } from './node.ts'

const IN = '-A PREROUTING -i vmbr0'
const LINES = [
  `-t nat ${IN} -p tcp --dport 2222 -j DNAT --to 10.10.10.105:22`,
  `-t nat ${IN} -p tcp --dport 8080 -j DNAT --to-destination 10.10.10.108:80`,
  `-t nat ${IN} -p udp --dport 5353 -j DNAT --to-destination 10.10.10.105:53`,
  `-t nat ${IN} -p tcp -m multiport --dports 8443,9443 -j DNAT --to-destination 10.10.10.108`,
  `-t nat ${IN} -p tcp --dport 6000:6009 -j DNAT --to-destination 10.10.10.105:5000-5009/6000`,
  `-t nat ${IN} -p tcp --dport 7000:7009 -j DNAT --to-destination 10.10.10.105:22`,
  `-t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 81 -j DNAT --to-destination 10.10.10.108:80`,
  `-t nat ${IN} -s 203.0.113.1 -p tcp --dport 82 -j DNAT --to-destination 10.10.10.108:80`,
  `-t nat ${IN} -p tcp --dport 1000:1001 -j DNAT --to-destination 10.10.10.105`,
  // A port that is the node's own, which a guest's rule may not have.
  `-t nat ${IN} -p tcp --dport 85 -j DNAT --to-destination 10.10.10.108:80`,
  `-t nat -A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE`,
  // A dead line: it would come to life without the line before it.
  `-t nat -A POSTROUTING -s 10.10.10.128/25 -o vmbr0 -j SNAT --to-source 203.0.113.2`,
  `-t nat -I POSTROUTING -s 10.10.10.105 ! -d 10.10.10.0/24 -j MASQUERADE`,
  `-t nat -A POSTROUTING -s 10.10.10.0/24 -d 10.10.10.108 -o vmbr1 -p tcp --dport 80 -m comment --comment "back \\"home\\"" -j MASQUERADE`,
  '-t raw -I PREROUTING -i fwbr+ -j CT --zone 1',
]

const CREATE = 'pvenat import --pvesh | sh'
const SWITCH = 'pvenat import --switch --confirm 60'

/** Who asks for what, and who is to answer. */
const ASKED = [
  ['inet', '203.0.113.2:2222', '105'],
  ['inet', '203.0.113.2:8080', '108'],
  ['inet', '203.0.113.2:5353/udp', '105'],
  ['inet', '203.0.113.2:8443', '108'],
  ['inet', '203.0.113.2:9443', '108'],
  ['inet', '203.0.113.2:6003', '105'],
  ['inet', '203.0.113.2:7005', '105'],
  ['inet', '203.0.113.2:81', '108'],
  ['inet', '203.0.113.2:82', '108'],
  ['inet', '203.0.113.2:1001', '105'],
  ['inet', '203.0.113.2:85', '108'],
  ['105', '203.0.113.2:81', '108'],
  ['105', '203.0.113.1:443', 'inet'],
  ['108', '203.0.113.1:443', 'inet'],
] as const

onBothAtOnce('moving over', (backend) => {
  let shell: Awaited<ReturnType<typeof makeFixer>>
  let before: string
  const node = testNode(backend, {
    rules: { 'firewall/105.fw': [], 'firewall/107.fw': [], 'firewall/108.fw': [], 'firewall/109.fw': [] },
    edits: { 'firewall/cluster.fw': (text) => text.replace(/^.*# NAT.*\n/gm, '') },
    serve: ['105:22,5003,1001/tcp', '105:53/udp', '108:80,8443,9443/tcp', 'inet:443/tcp'],
    prepare: async ({ lab, tree, pvenat }) => {
      shell = await makeFixer(lab, pvenat, tree)
      // pvenat looks for programs in the folders of the system alone.
      await node.sh(`mkdir -p /run/over; mount -t tmpfs none /run/over; mkdir /run/over/up /run/over/work
mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/over/up,workdir=/run/over/work none /usr/sbin
printf '#!/bin/sh\\nPVE_TREE=%s exec %s/.bin/pvesh "$@"\\n' '${tree}' '${tree}' > /usr/sbin/pvesh; chmod 755 /usr/sbin/pvesh`)
      const ups = LINES.map((line) => `  post-up iptables ${line}\n`).join('')
      await node.sh(`mkdir -p /etc/network; cat > /etc/network/interfaces <<'END'
auto vmbr1
iface vmbr1 inet static
  address 10.10.10.1/24
  post-up echo 1 > /proc/sys/net/ipv4/ip_forward
${ups}END
sysctl -qw net.ipv4.ip_forward=1`)
      for (const line of LINES) await node.sh(`iptables-${backend} ${line}`)
    },
  })
  const foreign = () =>
    node.sh(`iptables-${backend} -t nat -S | grep -v PVENAT; iptables-${backend} -t raw -S | grep -v PVENAT`)
  const answers = () =>
    Promise.all(
      ASKED.map(async ([from, to]) => {
        const answer = await node.call(from, to)
        return [from, to, typeof answer === 'string' ? answer : { ...answer, seenPort: 0 }] as const
      }),
    )
  let answered: Awaited<ReturnType<typeof answers>>
  const expectSame = async () => expect(await answers()).toEqual(answered)
  const outside = { endpoint: '203.0.113.2:2222', server: '105' }
  const inside = { endpoint: '203.0.113.2:8080', server: '108' }

  beforeAll(async () => {
    before = await foreign()
    node.pvenat.launch()
    await node.hears()
    answered = await answers()
    for (const [i, [from, to, answer]] of answered.entries())
      expect([from, to, answer]).toMatchObject([from, to, { server: ASKED[i]?.[2] }])
  })

  test('these are the commands that the document names', () => {
    const told = commandsOf('docs/coming-from.md').filter((line) => /^pvenat (import|confirm)/.test(line))
    expect(told).toEqual(['pvenat import', CREATE, SWITCH, 'pvenat confirm'])
  })

  test('the first command shows what each line becomes', async () => {
    const { stdout } = await node.pvenat.run('import')
    expect(stdout).toContain('becomes 105.fw: IN ACCEPT -p tcp -dport 22 # NAT 2222\n')
    expect(stdout).toContain('becomes 105.fw: IN ACCEPT -p tcp -dport 5000:5009 # NAT 6000-6009\n')
    expect(stdout).toContain('at boot: /etc/network/interfaces:5\n')
    expect(stdout.match(/--switch takes it out with that rule/g)).toHaveLength(1)
    expect(stdout).toMatch(/^12 become rules, 3 are built in, 1 stay as they are$/m)
  })

  test('the second creates them, switched off: nothing changes', async () => {
    expect(await shell([CREATE])).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await node.pvenat.run('import', '--pvesh')).stdout).toBe('')
    expect(await node.text('firewall/105.fw')).toContain('|IN ACCEPT -p tcp -dport 22 # NAT 2222')
    await node.converged()
    expect(await foreign()).toBe(before)
    await expectSame()
  })

  test('unless it is confirmed the third takes itself back, rule by rule', async () => {
    expect(await shell([SWITCH.replace('60', '1')])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/\nno answer; what was in force before is in force again$/) as unknown,
    })
    expect(await foreign()).toBe(before)
    await node.converged()
    expect(await node.text('firewall/105.fw')).toContain('|IN ACCEPT -p tcp -dport 22 # NAT 2222')
    await expectSame()
  })

  test('a rule that cannot be switched off again is told, and the old ones are back', async () => {
    await node.sh(`cp /usr/sbin/pvesh /run/pvesh
printf '#!/bin/sh\\ncase "$*" in *"--enable 0") exit 5 ;; esac; exec /run/pvesh "$@"\\n' >/usr/sbin/pvesh`)
    const { exitCode, stderr } = await shell([SWITCH.replace('60', '1')])
    await node.sh('cat /run/pvesh >/usr/sbin/pvesh')
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/^no answer; not all of it could be taken back/m)
    expect(stderr).toMatch(/^ {2}IN ACCEPT -p tcp -dport 22 # NAT 2222 of firewall\/105\.fw is still on: /m)
    expect(stderr).not.toContain('in force again')
    expect(await foreign()).toBe(before)
    for (const file of ['cluster', '105', '108'])
      await node.edit(`firewall/${file}.fw`, (text) => text.replace(/^(?=(IN|OUT) .*# NAT)/gm, '|'))
    await node.converged()
    await expectSame()
  })

  test('confirmed it stays, no connection fails meanwhile, and the lines to take out are named', async () => {
    const prober = await Prober.start(node.lab, [outside, inside])
    const moving = shell([SWITCH])
    const isConfirmed = async () => (await node.pvenat.run('confirm')).exitCode === 0
    const confirmed = waitFor(isConfirmed, { timeoutMs: 20_000 })
    const { exitCode, stdout, stderr } = await moving
    const { asked, failures } = await prober.stop()
    expect([exitCode, stderr]).toMatchObject([
      0,
      expect.stringMatching(/^in force; it is taken back in 60 s/),
    ])
    await confirmed
    expect(stdout).toContain('12 rules are on, and what they replace is out\n')
    expect(stdout).toContain(`/etc/network/interfaces:5: post-up iptables ${LINES[0]}\n`)
    expect(failures).toEqual([])
    expect(asked).toBeGreaterThan(20)
    expect(await foreign()).not.toMatch(/DNAT|MASQUERADE|SNAT|CT/)
    await node.converged()
    await expectSame()
  })

  test('rules of nft itself move over, too, and come back where they were', async () => {
    await node.sh(`nft -f - <<'END'
table ip mine {
  chain in {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "vmbr0" tcp dport 2300 counter dnat to 10.10.10.105:22
    iifname "vmbr0" tcp dport 2301 meta mark 7 dnat to 10.10.10.105:22
    fib daddr type local tcp dport { 2302, 2303 } dnat to 10.10.10.108:80 comment "the shop"
  }
}
END`)
    const mine = async () =>
      (await node.sh('nft list table ip mine')).replace(/counter packets.*? dnat/, 'dnat')
    const old = await mine()
    expect(await shell([CREATE])).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await shell([SWITCH.replace('60', '1')])).toMatchObject({ exitCode: 1 })
    expect(await mine()).toBe(old)
    const prober = await Prober.start(node.lab, [
      { endpoint: '203.0.113.2:2300', server: '105' },
      { endpoint: '203.0.113.2:2303', server: '108' },
    ])
    const moving = shell([SWITCH])
    await waitFor(async () => (await node.pvenat.run('confirm')).exitCode === 0, { timeoutMs: 20_000 })
    const { exitCode, stdout } = await moving
    expect(await prober.stop()).toMatchObject({ failures: [] })
    expect(exitCode, stdout).toBe(0)
    expect(stdout).toMatch(/^at the next boot the file that loads these chains of nft .*:\n {2}ip mine in$/m)
    expect((await mine()).match(/dport .*/g)).toEqual([
      'dport 2301 meta mark 0x00000007 dnat to 10.10.10.105:22',
    ])
    expect(await node.call('inet', '203.0.113.2:2302')).toMatchObject({ server: '108' })
  })
})
