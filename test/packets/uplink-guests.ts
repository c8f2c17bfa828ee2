/** Guests of a node with three uplinks: by which of them they leave and are reached, and nothing by another one. */
import { describe, expect, test } from 'vitest'
import { forgetLeaks, leaks, now, uplinkAddresses, waitFor } from '../lab/index.ts'
import type { Family } from '../../src/address.ts'
import { saveProgram } from '../../src/facts/backend.ts'
import { askFtp, serveFtp } from './ftp.ts'
import type { TestNode } from './node.ts'

const PPP_MAC = '02:70:70:70:00:01'
/** Hosts of the internet that no provider's network has. */
export const clientOf = (address: string): { from: string } => ({
  from: address.startsWith('[') ? '2001:db8:51::7' : '198.51.100.7',
})

const INTERNET = { 4: '198.51.100.7:443', 6: '[2001:db8:51::7]:443' } as const

/** Waits that must be over within a second, the rules of guest 105, and the marks. */
export function patience(node: TestNode): {
  soon: (what: string, isSo: () => Promise<boolean>) => Promise<void>
  answers: (address: string) => Promise<void>
  seenAs: (address: string, guest?: string) => Promise<void>
  save: (...rules: string[]) => Promise<void>
  marks: (family?: Family) => Promise<string>
} {
  const marks = (family: Family = 4) => node.sh(`${saveProgram(node.backend, family)} -t mangle`)
  /** Waits until it is so, which has to be within a second of the event. */
  async function soon(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const start = now()
    await waitFor(isSo, { what })
    const tookMs = now() - start
    expect(tookMs, what).toBeLessThan(await node.fair(1000, tookMs))
  }
  const answers = (address: string) =>
    soon(`${address} to answer`, async () => {
      const answer = await node.call('inet', `${address}:8080`, { ...clientOf(address), timeoutMs: 200 })
      return typeof answer === 'object'
    })
  /** Waits until a guest is seen as this address by the internet. */
  const seenAs = (address: string, guest = '105') =>
    soon(`${guest} to be seen as ${address}`, async () => {
      const to = INTERNET[address.includes(':') ? 6 : 4]
      const answer = await node.call(guest, to, { timeoutMs: 200 })
      return typeof answer === 'object' && answer.seenAs === address
    })
  const save = (...rules: string[]) => node.save('firewall/105.fw', ...rules, 'IN SSH(ACCEPT) # NAT 1022')
  return { soon, answers, seenAs, save, marks }
}

/** Guest 108 answers a client of eth1 that does not hear it, and sends its answer again and again: `again` waits for the next. */
export async function unacknowledged(
  node: TestNode,
  address: string,
): Promise<{ again: () => Promise<void>; forget: () => Promise<void> }> {
  const { lab } = node
  const count = `-t raw -I PREROUTING -i eth1 -s ${address} -p tcp --tcp-flags SYN,ACK SYN,ACK`
  const deaf = `-I INPUT -s ${address} -p tcp --sport 8080 -j DROP`
  const both = (edit: (words: string) => string) =>
    lab.exec('inet', ['sh', '-ec', [count, deaf].map((words) => `iptables-nft ${edit(words)}`).join('; ')])
  await forgetLeaks(lab)
  await both((words) => words)
  expect(await node.call('inet', `${address}:8080`, { ...clientOf(address), timeoutMs: 200 })).toBe('nothing')
  const sent = async (): Promise<number> => {
    const { stdout } = await lab.exec('inet', ['iptables-nft-save', '-c', '-t', 'raw'])
    return Number(/^\[(\d+):\d+\] .*--tcp-flags/m.exec(stdout)?.[1] ?? 0)
  }
  const again = async (): Promise<void> => {
    const before = await sent()
    await waitFor(async () => (await sent()) > before, { what: 'an answer sent again', timeoutMs: 15_000 })
  }
  return { again, forget: async () => void (await both((words) => words.replace('-I ', '-D '))) }
}

export function guestTests(node: TestNode): void {
  const { backend } = node
  const { soon, answers, seenAs, save, marks } = patience(node)
  describe('guests leave', () => {
    /** A connection by wg0 stays there while new ones leave by this rule, as this address. */
    const staysAtWg0 = async (rule: string, address: string) => {
      const stream = await node.lab.stream('105', INTERNET[4])
      expect(stream.answer).toMatchObject({ seenAs: '203.0.115.2' })
      await save(rule)
      await seenAs(address)
      expect(await stream.ping(3000)).toBe(true)
      await stream.close()
    }

    test('by the default route, as before', async () => {
      // While marks collided, answers went astray.
      await forgetLeaks(node.lab)
      expect(await node.call('107', INTERNET[4])).toMatchObject({ seenAs: '203.0.113.2' })
    })

    test('explain tells both ways by the kernel’s own answer', async () => {
      const told = async (...words: string[]) => (await node.pvenat.run('explain', ...words)).stdout
      const answered = await told('tcp', '198.51.100.7', '203.0.115.2:8080')
      expect(answered).toMatch(
        /The answer leaves by wg0, by which the client came\.\s+read: ip route get 198\.51\.100\.7 from 10\.10\.10\.108 iif vmbr1 mark 0x3000000/,
      )
      await save('OUT ACCEPT # NAT via=eth1')
      await seenAs('192.0.2.2')
      const left = await told('tcp', '10.10.10.105', INTERNET[4])
      expect(left).toMatch(
        /The kernel sends it out by eth1\.\s+read: ip route get 198\.51\.100\.7 from 10\.10\.10\.105 iif vmbr1 mark 0x2000000/,
      )
      expect(left).toContain('seen as 192.0.2.2')
    })

    test('by the uplink that their rule names, and by no other while that is down', async () => {
      await save('OUT ACCEPT # NAT via=wg0')
      // Until then guests have no rule for IPv6, and leave as they are.
      await soon('the mark of IPv6', async () => (await marks(6)).includes('-s fd10::105/128'))
      await seenAs('203.0.115.2')
      await seenAs('2001:db8:115::2')
      expect(await node.call('105', '203.0.113.2:8080')).toMatchObject({ server: '108' })
      await node.sh('ip link set wg0 down')
      expect(typeof (await node.call('105', INTERNET[4]))).toBe('string')
      await save('OUT ACCEPT # NAT via=wg0,eth1')
      await seenAs('192.0.2.2')
      await node.sh('ip link set wg0 up; ip addr add 2001:db8:115::2/128 dev wg0 nodad')
      await seenAs('203.0.115.2')
    })

    test('as the address that their rule names, by its uplink; connections that stand stay where they are', async () => {
      await staysAtWg0('OUT ACCEPT # NAT 192.0.2.2', '192.0.2.2')
    })

    test('to hosts in the network of another uplink as that uplink’s address', async () => {
      await save('OUT ACCEPT # NAT via=wg0')
      await seenAs('203.0.115.2')
      expect(await node.call('105', '203.0.113.1:443')).toMatchObject({ seenAs: '203.0.113.2' })
      expect(await node.call('105', '192.0.2.1:443')).toMatchObject({ seenAs: '192.0.2.2' })
    })

    test('and stay where they are when the rule goes', async () => {
      await staysAtWg0('OUT ACCEPT # NAT', '203.0.113.2')
    })

    test('and by no other one than these', async () => {
      expect(await leaks(node.lab)).toEqual([])
    })

    test('as their own address by full=1, both ways, and no packet goes astray while that comes and goes', async () => {
      let isOver = false
      const ask = (timeoutMs: number) =>
        node.call('inet', '192.0.2.7:22', { ...clientOf('192.0.2.7'), timeoutMs })
      await node.sh('ip addr add 192.0.2.7/24 dev eth1')
      // Until the service knows the address, the node answers from it by the default route.
      await soon('the address to be known', async () => (await marks()).includes('--ctorigdst 192.0.2.7'))
      const asking = (async () => {
        while (!isOver) await ask(20)
      })()
      await node.save('firewall/105.fw', 'IN ACCEPT # NAT 192.0.2.7 full=1')
      await seenAs('192.0.2.7')
      await soon('105 to answer as 192.0.2.7', async () => {
        const answer = await ask(200)
        return typeof answer === 'object' && answer.server === '105'
      })
      await save('OUT ACCEPT # NAT')
      await seenAs('203.0.113.2')
      isOver = true
      await asking
      await node.sh('ip addr del 192.0.2.7/24 dev eth1')
      expect(await leaks(node.lab)).toEqual([])
    })

    test('with firewall=1, too: by via=, as an address, and by full=1 both ways', async () => {
      const rules = await node.text('firewall/107.fw')
      await node.sh('ip addr add 192.0.2.7/24 dev eth1')
      await soon('the address to be known', async () => (await marks()).includes('--ctorigdst 192.0.2.7'))
      await node.save('firewall/107.fw', 'OUT ACCEPT # NAT via=wg0')
      await soon('the mark of IPv6', async () => (await marks(6)).includes('-s fd10::107/128'))
      for (const address of Object.values(uplinkAddresses.wg0)) await seenAs(address, '107')
      await node.save('firewall/107.fw', 'OUT ACCEPT # NAT 192.0.2.2')
      await seenAs('192.0.2.2', '107')
      await node.save('firewall/107.fw', 'IN ACCEPT # NAT 192.0.2.7 full=1')
      await seenAs('192.0.2.7', '107')
      // The one port from which its firewall lets SSH in.
      const client = { ...clientOf('192.0.2.7'), fromPort: 822 }
      expect(await node.call('inet', '192.0.2.7:22', client)).toMatchObject({
        server: '107',
        seenAs: client.from,
      })
      await node.edit('firewall/107.fw', () => rules)
      await seenAs('203.0.113.2', '107')
      await node.sh('ip addr del 192.0.2.7/24 dev eth1')
      expect(await leaks(node.lab)).toEqual([])
    })

    test('untranslated by NAT none via=, and by no other uplink, also while marks are not to be had', async () => {
      await save('OUT ACCEPT # NAT none via=wg0')
      const others = async () => (await leaks(node.lab)).filter((line) => !line.includes('-i wg0'))
      const leftBy = async () => (await leaks(node.lab)).filter((line) => line.includes('-i wg0')).length
      const go = () => node.call('105', INTERNET[4], { timeoutMs: 100 })
      await soon('105 to leave by wg0', async () => (await go(), (await leftBy()) > 0))
      await node.sh('ip rule add fwmark 0x2000000/0xf000000 table 100')
      await soon('the marks to go', async () => !(await marks()).includes('PVENAT-UPLINK'))
      await forgetLeaks(node.lab)
      expect(typeof (await go())).toBe('string')
      expect([await leftBy(), await others()]).toEqual([0, []])
      await node.sh('ip rule del fwmark 0x2000000/0xf000000 table 100')
      await soon('105 to leave by wg0 again', async () => (await go(), (await leftBy()) > 0))
      expect(await others()).toEqual([])
      await save('OUT ACCEPT # NAT')
      await seenAs('203.0.113.2')
      await forgetLeaks(node.lab)
    })

    test.each([
      ['wg0', 1420],
      ['wg0', 1280],
      ['eth1', 1492],
    ] as const)(
      'and their segments fit %s with an MTU of %d, where nobody tells that packets are too big',
      async (dev, mtu) => {
        const inner = dev === 'wg0' ? dev : 'pve-eth1'
        // The far end sends packets of up to 1500 bytes one at a time, and the link drops what is wider than it is.
        await node.lab.ip('inet', [
          `link set ${dev} mtu 1500`,
          `link set ${inner} mtu 1500`,
          `link set ${dev} gso_max_segs 1`,
        ])
        await node.sh(`ip link set ${dev} mtu ${mtu}`)
        const deaf = (verb: string) =>
          node.lab.exec('105', [
            'sh',
            '-ec',
            `iptables-nft -${verb} INPUT -p icmp -j DROP; ip6tables-nft -${verb} INPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP`,
          ])
        await deaf('A')
        await save(`OUT ACCEPT # NAT via=${dev}`)
        const passes = async (from: string, to: string, options = {}) => {
          const stream = await node.lab.stream(from, to, options)
          const isWhole = await stream.ping(1500, 20_000)
          await stream.close()
          return isWhole
        }
        const clamped = (isSo: boolean) =>
          soon('the clamp of both families', async () => {
            const [v4, v6] = [await marks(4), await marks(6)]
            return [v4.includes(`--set-mss ${mtu - 40}`), v6.includes(`--set-mss ${mtu - 60}`)].every(
              (is) => is === isSo,
            )
          })
        await clamped(true)
        for (const family of [4, 6] as const) {
          const own = uplinkAddresses[dev][family]
          await seenAs(own)
          const called = family === 4 ? own : `[${own}]`
          expect([family, 'in', await passes('inet', `${called}:8080`, clientOf(called))]).toEqual([
            family,
            'in',
            true,
          ])
          expect([family, 'out', await passes('105', INTERNET[family])]).toEqual([family, 'out', true])
        }
        if (mtu === 1280) {
          // Without it the hole is there.
          const settings = await node.text('pvenat.conf')
          await node.edit('pvenat.conf', (text) => `${text}clamp-mss = no\n`)
          await clamped(false)
          expect(await passes('inet', '203.0.115.2:8080', clientOf('203.0.115.2'))).toBe(false)
          await node.edit('pvenat.conf', () => settings)
          await clamped(true)
        }
        await deaf('D')
        await node.sh(`ip link set ${dev} mtu ${dev === 'wg0' ? 1420 : 1500}`)
        await save('OUT ACCEPT # NAT')
      },
    )

    test.each([
      ['passive', 'IPv4', 'iptables', '192.0.2.2', '198.51.100.7'],
      ['active', 'IPv4', 'iptables', '192.0.2.2', '198.51.100.7'],
      ['passive', 'IPv6', 'ip6tables', '2001:db8:2::2', '2001:db8:51::7'],
      ['active', 'IPv6', 'ip6tables', '2001:db8:2::2', '2001:db8:51::7'],
    ] as const)(
      '%s FTP of a guest at the %s address of another uplink',
      async (mode, _, program, at, client) => {
        const host = await node.text('nodes/pve1/host.fw')
        await node.edit('nodes/pve1/host.fw', (text) =>
          text.replace('[OPTIONS]', '[OPTIONS]\nnf_conntrack_helpers: ftp'),
        )
        const helper = 'PREROUTING -p tcp --dport 21 -j CT --helper ftp'
        await node.sh(`${program}-${backend} -w -t raw -A ${helper}`)
        serveFtp(node.lab, '105')
        await save('OUT ACCEPT # NAT', 'IN FTP(ACCEPT) # NAT 2121')
        const data = () => askFtp(node.lab, 'inet', mode, at, 2121, client)
        await waitFor(async () => (await data()) === 'DATA', {
          timeoutMs: 10_000,
          what: `the data of ${mode} FTP`,
        })
        await forgetLeaks(node.lab)
        expect(await data()).toBe('DATA')
        const astray = await leaks(node.lab)
        await node.sh(`${program}-${backend} -w -t raw -D ${helper}`)
        await node.edit('nodes/pve1/host.fw', () => host)
        expect(astray).toEqual([])
        await save('OUT ACCEPT # NAT')
      },
    )

    test('by a link that comes as PPP does: a peer, no gateway, and a name that is new each time', async () => {
      for (const name of ['ppp0', 'ppp1']) {
        await node.lab.ip('pve', [
          `link add ${name} address ${PPP_MAC} type veth peer name ${name} address ${PPP_MAC} netns ${node.lab.ns('inet').pid}`,
          `link set ${name} arp off mtu 1492 up`,
          `addr add 100.64.0.2 peer 100.64.0.1/32 dev ${name}`,
          `route add default dev ${name} metric 300`,
        ])
        await node.lab.ip('inet', [
          `link set ${name} arp off up`,
          `addr add 100.64.0.1 peer 100.64.0.2/32 dev ${name}`,
        ])
        await answers('100.64.0.2')
        // The clamp comes behind the marks and the translation.
        await soon('the clamp', async () => (await marks()).includes('--set-mss 1452'))
        await node.sh(`ip link del ${name}`)
      }
    })
  })
}
