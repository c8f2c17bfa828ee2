// Rules by hand that others stand before: the first one that translates a packet decides on it.
import { expect, test } from 'vitest'
import { switchable } from '../../src/import/trial.ts'
import { renderImport } from '../../src/show/import.ts'
import { importLines, save, says } from './saved.ts'

const IN = '-A PREROUTING -i vmbr0 -p tcp -m tcp'
const HTTP = '-A PREROUTING -p tcp -m tcp --dport 80'
test.each([
  [
    'REDIRECT',
    `${HTTP} -j REDIRECT --to-ports 8080`,
    `${IN} --dport 80 -j DNAT --to-destination 10.10.10.105`,
  ],
  [
    'DNAT',
    `${HTTP} -j DNAT --to-destination 10.10.10.99`,
    `${IN} --dport 80 -j DNAT --to-destination 10.10.10.105`,
  ],
  [
    'of a wider range at any address of the node',
    '-A PREROUTING -p tcp -m tcp -m addrtype --dst-type LOCAL --dport 1:100 -j DNAT --to-destination 10.10.10.99',
    `-A PREROUTING -d 203.0.113.2/32 -s 198.51.100.7/32 -p tcp -m multiport --dports 22,80 -j DNAT --to-destination 10.10.10.105`,
  ],
  [
    'SNAT',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE',
    '-A POSTROUTING -s 10.10.10.105/32 -o vmbr0 -j SNAT --to-source 203.0.113.2',
  ],
])('a rule is dead when an earlier one takes all of its packets: %s', async (_, taker, line) => {
  expect(says(await importLines(save([taker, line])))[1]).toBe(
    `stays: it is dead: no packet gets past '${taker}' to it`,
  )
  expect(says(await importLines(save([line, taker])))[0]).toMatch(/^firewall\S+ (IN|OUT) ACCEPT /)
})

test.each([
  ['another client', '-A PREROUTING -s 198.51.100.7/32 -p tcp -m tcp --dport 822 -j REDIRECT --to-ports 22'],
  ['an ACCEPT', '-A PREROUTING -s 198.51.100.7/32 -j ACCEPT'],
  [
    'a condition that is not known',
    `${IN} --dport 822 -m limit --limit 5/sec -j DNAT --to-destination 10.10.10.99`,
  ],
])('a rule stays when an earlier one that stays takes some of its packets: %s', async (_, taker) => {
  const dnat = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  expect(says(await importLines(save([taker, dnat])))[1]).toBe(
    `stays: some of its packets are taken by a rule before it: '${taker}'`,
  )
})

test('an earlier rule for other packets is none of its business', async () => {
  const dnat = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  const others = [
    '-A PREROUTING -i vmbr1 -p tcp -m tcp --dport 822 -j REDIRECT --to-ports 22',
    '-A PREROUTING ! -i vmbr0 -j REDIRECT',
    `${IN} --dport 823:900 -j REDIRECT --to-ports 22`,
    '-A PREROUTING -i vmbr0 -p udp -m udp --dport 822 -j ACCEPT',
  ]
  expect(says(await importLines(save([...others, dnat]))).at(-1)).toMatch(/NAT 822$/)
})

test('a dead rule is switched over with the rule before it, and keeps nothing else from that', async () => {
  const dnat = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  const dead = `${IN} --dport 822 -j DNAT --to-destination 10.10.10.99:22`
  const hairpin = '-A POSTROUTING -s 10.10.10.0/24 -d 10.10.10.105/32 -p tcp -m tcp --dport 22 -j MASQUERADE'
  const { all } = await importLines(save([dnat, dead, hairpin]))
  expect(switchable(all).map(({ written }) => written.text)).toEqual([dnat, dead, hairpin])
  expect(renderImport(all).match(/--switch takes it out with that rule/g)).toHaveLength(1)
})

test('a dead rule behind a rule that stays is left as it is', async () => {
  const taker = `${HTTP} -j REDIRECT --to-ports 8080`
  const dead = `${IN} --dport 80 -j DNAT --to-destination 10.10.10.105`
  const { all } = await importLines(save([taker, dead]))
  expect(switchable(all)).toEqual([])
  expect(renderImport(all)).not.toContain('--switch')
})

test('a rule for the addresses of the node leaves what passes through to a transparent proxy', async () => {
  const local =
    '-A PREROUTING -p tcp -m tcp -m addrtype --dst-type LOCAL --dport 80 -j DNAT --to-destination 10.10.10.99'
  const proxy = `${HTTP} -j DNAT --to-destination 10.10.10.105:3128`
  expect(says(await importLines(save([local, proxy])))[1]).not.toContain('it is dead')
  const isDead = expect.stringMatching(/^stays: it is dead: /) as unknown
  const again = local.replace('10.10.10.99', '10.10.10.105')
  const own = `-A PREROUTING -d 203.0.113.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.10.10.105`
  expect(says(await importLines(save([local, again, own]))).slice(1)).toEqual([isDead, isDead])
})
