// What a guest holds stays with it in every gap, however long somebody else's rule has waited for it; nor does the node lose what it has.
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { otherBackend } from '../../src/facts/backend.ts'
import type { Row } from '../../src/show/list.ts'
import { backends, now, saveLikeGui, standIn, waitFor } from '../lab/index.ts'
import { testNode } from './node.ts'

const [MAIN, OTHER] = ['203.0.113.2', '203.0.113.7']
const CONF = (vmid: number, node = 'pve1') => `nodes/${node}/lxc/${vmid}.conf`
/** 105 has the lower VMID, and its rules wait for what 108 and 107 hold. */
const RULES = {
  'firewall/105.fw': [
    'IN HTTP(ACCEPT) # NAT 3000',
    'IN HTTP(ACCEPT) # NAT 3001',
    'IN ACCEPT # NAT 203.0.113.8 full=1',
    'IN HTTP(ACCEPT) # NAT 9100',
    'IN HTTP(ACCEPT) # NAT 8085',
    'IN HTTP(ACCEPT) # NAT 8443',
    'IN ACCEPT -p udp -dport 53 # NAT 41641 my own tailscale',
    'OUT ACCEPT # NAT',
  ],
  'firewall/107.fw': ['OUT ACCEPT # NAT', 'IN ACCEPT -dest 10.10.10.107 -p tcp -dport 22 # NAT 2207'],
  'firewall/108.fw': [
    'IN HTTP(ACCEPT) # NAT 3000',
    `IN HTTP(ACCEPT) # NAT ${OTHER}:3001`,
    'IN ACCEPT # NAT 203.0.113.8 full=1',
  ],
}

describe.each(backends)('gaps, %s', (backend) => {
  const node = testNode(backend, {
    edits: { 'firewall/cluster.fw': (text) => text.replace(/^OUT .*\n/m, '') },
    settings: 'interval = 1',
    serve: ['pve:9100/tcp', 'pve:41641/udp', 'inet:443/tcp', '105:80,22/tcp', '107:22/tcp', '108:80/tcp'],
    prepare: async ({ lab }) => {
      await lab.ip('pve', [`addr add ${OTHER}/24 dev vmbr0`, 'addr add 203.0.113.8/24 dev vmbr0'])
      for (const path of ['firewall/107.fw', 'firewall/108.fw'] as const)
        await node.save(path, ...RULES[path])
      // They come first, so they are granted it.
      await node.pvenat.start()
      await node.save('firewall/105.fw', ...RULES['firewall/105.fw'])
      await node.pvenat.service?.says(/105\.fw:7: error\[port-taken\]/)
    },
  })

  const server = async (to: string) => {
    const answer = await node.lab.ask('inet', 'tcp', to, { timeoutMs: 300 })
    return typeof answer === 'string' ? answer : answer.server
  }
  const holders = async () => ({
    3000: await server(`${MAIN}:3000`),
    3001: await server(`${MAIN}:3001`),
    [`${OTHER}:3001`]: await server(`${OTHER}:3001`),
    full: await server('203.0.113.8:80'),
  })
  const AS_GRANTED = { 3000: '108', 3001: '105', [`${OTHER}:3001`]: '108', full: '108' }
  /** Whatever came and went: it is as it was granted once all is back, and was nobody else's meanwhile. */
  const survives = async (gap: () => Promise<unknown>) => {
    const found = new Set<string>()
    let isOver = false
    const watch = (async () => {
      while (!isOver) found.add(await server(`${MAIN}:3000`))
    })()
    await gap().finally(() => (isOver = true))
    await watch
    await waitFor(async () => expect(await holders()).toEqual(AS_GRANTED) ?? true, { timeoutMs: 8000 })
    await looks(2)
    expect(await holders()).toEqual(AS_GRANTED)
    expect([...found].filter((one) => one === '105')).toEqual([])
  }
  const state = () => node.sh('cat /var/lib/pvenat/state.json')
  /** So many looks go by. */
  const looks = async (count: number) => {
    for (let i = 0; i < count; i++) {
      node.pvenat.service?.signal('SIGHUP')
      await sleep(300)
    }
  }
  const rows = () => node.published<Row[]>('list.json')
  const rule = async (comment: string, vmid: number) =>
    (await rows()).find((row) => row.comment === comment && row.guest?.vmid === vmid)

  test('a claim at one address is held there alone, at the second look, too', () => survives(() => looks(2)))

  test('the default routes are away for 2.5 s', () =>
    survives(async () => {
      await node.lab.ip('pve', ['route del default via 203.0.113.1'])
      await sleep(2500)
      await node.lab.ip('pve', ['route add default via 203.0.113.1'])
    }))

  test('the firewall of the datacenter is off and on', () =>
    survives(async () => {
      await node.edit('firewall/cluster.fw', (text) => text.replace('enable: 1', 'enable: 0'))
      await waitFor(async () => (await server(`${MAIN}:3000`)) === 'refused')
      await sleep(1500)
      await node.edit('firewall/cluster.fw', (text) => text.replace('enable: 0', 'enable: 1'))
    }))

  test('108 migrates away and is back after 4 s', () =>
    survives(async () => {
      const list = await node.text('.vmlist')
      const move = async (from: string, to: string) => {
        await mkdir(join(node.tree, `nodes/${to}/lxc`), { recursive: true })
        await rename(join(node.tree, CONF(108, from)), join(node.tree, CONF(108, to)))
        const all = JSON.parse(list) as { ids: Record<string, { node: string }> }
        await saveLikeGui(
          node.tree,
          '.vmlist',
          JSON.stringify({ ...all, ids: { ...all.ids, 108: { ...all.ids[108], node: to } } }),
        )
      }
      await move('pve1', 'pve2')
      await waitFor(async () => (await server(`${MAIN}:3000`)) === 'refused')
      await sleep(4000)
      await move('pve2', 'pve1')
    }))

  test.each(['garbage', '[]'])('state.json is %s, while it runs and at a start', (text) =>
    survives(async () => {
      await node.sh(`printf '%s' '${text}' > /var/lib/pvenat/state.json`)
      await looks(2)
      await node.pvenat.service?.stop()
      await node.sh(`printf '%s' '${text}' > /var/lib/pvenat/state.json`)
      node.pvenat.launch()
      await node.hears()
      await waitFor(async () => (await state()).includes('rights'))
    }),
  )

  test('both files that hold rights are gone, while it runs and at a start', () =>
    survives(async () => {
      await node.sh('rm /var/lib/pvenat/*.json')
      await looks(2)
      await node.pvenat.service?.stop()
      await node.sh('rm -f /var/lib/pvenat/*.json')
      node.pvenat.launch()
      await node.hears()
      await waitFor(async () => (await state()).includes('rights'))
    }))

  test('an address of a guest that only goes out: a neighbour who writes it down gets nothing, and takes nothing', async () => {
    const out = async () =>
      (await node.lab.ask('107', 'tcp', '203.0.113.1:443', { timeoutMs: 500 })) as object
    const text = await node.text(CONF(105))
    expect(await out()).toMatchObject({ seenAs: MAIN })
    await node.edit('firewall/107.fw', () => '[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nOUT ACCEPT # NAT\n')
    await node.edit(CONF(105), (old) => old.replace('10.10.10.105/24', '10.10.10.107/24'))
    await node.edit('nodes/pve1/qemu-server/107.conf', (old) => old.replace('ip=10.10.10.107/24', 'ip=dhcp'))
    await looks(3)
    expect(await server(`${MAIN}:3001`)).not.toBe('107')
    // By now the neighbour table was read, which has its own address.
    await waitFor(async () => (await rule('NAT', 107))?.state === 'active')
    expect(await out()).toMatchObject({ seenAs: MAIN })
    await saveLikeGui(node.tree, CONF(105), text)
    await node.edit('nodes/pve1/qemu-server/107.conf', (old) => old.replace('ip=dhcp', 'ip=10.10.10.107/24'))
    await node.save('firewall/107.fw', ...RULES['firewall/107.fw'])
    await waitFor(async () => (await server(`${MAIN}:2207`)) === '107')
    await waitFor(async () => (await server(`${MAIN}:3001`)) === '105')
  })

  test('ipfilter entries and ARP answers of a neighbour do not switch a typed destination off', async () => {
    expect(await server(`${MAIN}:2207`)).toBe('107')
    await node.edit('firewall/105.fw', (text) =>
      text.replace('[RULES]', '[IPSET ipfilter-net0]\n\n10.10.10.107\n\n[RULES]'),
    )
    await node.lab.ip('pve', ['neigh replace 10.10.10.107 lladdr bc:24:11:00:01:05 dev vmbr1 nud reachable'])
    await looks(3)
    expect((await rule('NAT 2207', 107))?.state).toBe('active')
    await node.lab.ip('pve', ['neigh flush dev vmbr1'])
    await looks(1)
    expect((await rule('NAT 2207', 107))?.state).toBe('active')
    expect(await server(`${MAIN}:2207`)).toBe('107')
    await node.save('firewall/105.fw', ...RULES['firewall/105.fw'])
  })

  test('a service of the node that restarts finds its port after 3.3 s', async () => {
    expect(await server(`${MAIN}:9100`)).toBe('pve')
    await node.lab.unserve('pve', 'tcp', 9100)
    await sleep(3300)
    expect(await server(`${MAIN}:9100`)).toBe('refused')
    expect(await rule('NAT 9100', 105)).toMatchObject({ state: 'error' })
    await node.lab.serve('pve', 'tcp', 9100)
    expect(await server(`${MAIN}:9100`)).toBe('pve')
  })

  test('a UDP port of a process of the node is the node’s, however high', async () => {
    await node.pvenat.service?.says(/41641\/udp belongs to this node/, 8000)
    const answer = await node.lab.ask('inet', 'udp', `${MAIN}:41641`)
    expect(answer).toMatchObject({ server: 'pve' })
  })

  test('a port that somebody publishes is the node’s within a second, and stays it while nobody can read that', async () => {
    expect(await server(`${MAIN}:8085`)).toBe('105')
    const nat = (rule: string) => node.sh(`iptables-${backend} -w -t nat ${rule}`)
    const SHOP = '-j DNAT --to-destination 10.10.10.108:80'
    await nat('-N DOCKER')
    await nat('-A PREROUTING -j DOCKER')
    await nat(`-A DOCKER -p tcp --dport 8085 ${SHOP}`)
    await nat(`-A PREROUTING -i vmbr0 -p tcp --dport 8443 ${SHOP}`)
    const from = now()
    for (const port of [8085, 8443])
      await waitFor(async () => (await server(`${MAIN}:${port}`)) === '108', {
        timeoutMs: 10_000,
        what: `port ${port} to be given up`,
      })
    const tookMs = now() - from
    expect(tookMs).toBeLessThan(await node.fair(1000, tookMs))
    await node.pvenat.service?.says(/8085\/tcp belongs to this node \(iptables chain DOCKER\)/)
    const isLost = async () => (await rule('NAT 8085', 105))?.state === 'error'
    await waitFor(isLost)
    const mend = await standIn(
      node.lab,
      `/usr/sbin/iptables-${backend}-save`,
      '[ "$*" != "-t nat" ] || exit 1; exec $real "$@"',
    )
    // Somebody writes, so all is read again.
    await nat('-A DOCKER -p tcp --dport 8086 -j RETURN')
    await looks(3)
    expect(await isLost()).toBe(true)
    expect(await server(`${MAIN}:8085`)).toBe('108')
    await mend()
    await nat('-F DOCKER')
  })

  const other = otherBackend(backend)
  test.each([
    [
      `iptables-${other}`,
      `iptables-${other} -w -t nat -A PREROUTING -p tcp --dport 8085 -j REDIRECT --to-ports 9100`,
      `iptables-${other} -w -t nat -F PREROUTING`,
    ],
    [
      'nft itself',
      `nft 'table ip web { chain in { type nat hook prerouting priority -100; }; }'
       nft add rule ip web in tcp dport 8085 dnat to 10.10.10.108:80`,
      'nft delete table ip web',
    ],
  ])('so is a port that is published by %s', async (_, publish, end) => {
    // The rule before has gone, which the service notices by itself.
    await waitFor(async () => {
      const { state: is = '', reason = '' } = (await rule('NAT 8085', 105)) ?? {}
      return is === 'active' || / stays with this node until /.test(reason ?? '')
    })
    const handOver = async () => {
      // Again when the service was amidst a pass.
      await node.pvenat.run('apply', '--hand-over')
      return (await server(`${MAIN}:8085`)) === '105'
    }
    await waitFor(handOver, { timeoutMs: 15_000 })
    await node.sh(publish)
    const from = now()
    await waitFor(async () => (await rule('NAT 8085', 105))?.state === 'error', { timeoutMs: 15_000 })
    const tookMs = now() - from
    await node.sh(end)
    expect(tookMs).toBeLessThan(await node.fair(2000, tookMs))
  })

  test('a VMID that comes back as another guest inherits nothing', async () => {
    await node.edit(CONF(108), (text) => text.replace('BC:24:11:00:01:08', 'BC:24:11:00:99:08'))
    await waitFor(async () => (await server(`${MAIN}:3000`)) === '105', {
      what: 'the waiting rule to get the port',
    })
    await node.edit(CONF(108), (text) => text.replace('BC:24:11:00:99:08', 'BC:24:11:00:01:08'))
    await looks(2)
    expect(await server(`${MAIN}:3000`)).toBe('105')
  })
})
