// NAT rules of others: which of them a fix deletes, and which stay because nothing would replace them.
import { expect, test } from 'vitest'
import { examine } from '../../src/checks/doctor.ts'
import type { Patient } from '../../src/checks/finding.ts'
import { parseBootLines } from '../../src/facts/interfaces.ts'
import { FACTS, worldAt } from '../explain/world.ts'

const NAT_RULES = ['foreign-masquerade', 'foreign-forward'] as const

/** Findings about these lines of iptables-legacy-save, beside the rules of a guest. */
function beside(
  lines: string[],
  rules = 'OUT ACCEPT -source 10.10.10.0/24 # NAT',
  facts: Partial<Patient['facts']> = {},
) {
  const save = ['*nat', ':PREROUTING ACCEPT [0:0]', ...lines, 'COMMIT', ''].join('\n')
  const files = new Map([['firewall/cluster.fw', `[OPTIONS]\nenable: 1\n[RULES]\n${rules}\n`]])
  const tables = { ...FACTS.tables, legacy: { 4: save, 6: '' } }
  const found = examine({ ...worldAt(files, { tables, ...facts }), sdnSnat: [], differs: [], errors: 0 })
  return found.filter(({ id }) => NAT_RULES.some((one) => one === id))
}

const BY_HAND = '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE'
const DELETE = 'iptables-legacy -w -t nat -D POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j MASQUERADE'

test('a masquerade by hand is deleted at once only when an OUT rule does the same', () => {
  expect(beside([BY_HAND])).toMatchObject([{ fix: [DELETE] }])
  for (const rules of [
    '',
    'OUT ACCEPT -source 10.10.10.5 # NAT',
    'OUT ACCEPT -source 10.10.10.0/24 -p tcp -dport 443 # NAT',
    'OUT ACCEPT -source 10.10.10.0/24 -dest 198.51.100.7 # NAT',
    '|OUT ACCEPT -source 10.10.10.0/24 # NAT',
  ])
    expect(beside([BY_HAND], rules)).toMatchObject([
      {
        fix: [
          `pvesh create /cluster/firewall/rules --type out --action ACCEPT --source 10.10.10.0/24 --enable 1 --comment NAT && { pvenat apply; pvenat plan; } && ${DELETE}`,
        ],
      },
    ])
})

test.each([
  ['of every network', '-A POSTROUTING -o vmbr0 -j MASQUERADE'],
  [
    'with conditions of its own',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -m time --timestart 09:00 -j MASQUERADE',
  ],
  ['of a port', '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -p tcp -m tcp --dport 25 -j MASQUERADE'],
  [
    'to an address that is not the node’s',
    '-A POSTROUTING -s 10.10.10.0/24 -o vmbr0 -j SNAT --to-source 198.51.100.99',
  ],
  ['that Docker puts back', '-A POSTROUTING -s 10.10.10.0/24 ! -o docker0 -j MASQUERADE'],
  ['that libvirt puts back', '-A POSTROUTING -s 10.10.10.0/24 ! -o virbr0 -j MASQUERADE'],
])('nothing takes away a masquerade %s', (_, line) => {
  expect(beside([line], '')).toMatchObject([{ id: 'foreign-masquerade', fix: [] }])
})

test('a forward of others is deleted only when ours forward all of its ports to everybody', () => {
  const theirs = (ports: string) => [
    `-A PREROUTING -d 203.0.113.2/32 -p tcp -m tcp --dport ${ports} -j DNAT --to-destination 10.10.10.9`,
  ]
  const ours = 'IN ACCEPT -dest 10.10.10.9 -p tcp -dport 80:89 # NAT'
  expect(beside(theirs('80'), ours)[0]?.fix).toHaveLength(1)
  expect(beside(theirs('80:100'), ours)).toMatchObject([{ fix: [] }])
  expect(beside(theirs('80'), ours.replace('-p', '-source 198.51.100.7 -p'))).toMatchObject([{ fix: [] }])
  const docker =
    '-A PREROUTING -d 203.0.113.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80'
  expect(beside([docker], ours)).toMatchObject([{ fix: [] }])
})

test('equal findings are one, and each of two equal rules is deleted', () => {
  expect(beside([BY_HAND, BY_HAND])).toMatchObject([{ fix: [DELETE, DELETE] }])
})

test('a rule that comes back at boot is named with its line', () => {
  const text = [
    'iface vmbr1 inet static',
    '  post-up echo 1',
    '\tpost-up   iptables -t nat -A POSTROUTING -s 10.10.10.1/24 -o "$IFACE" -j MASQUERADE',
  ].join('\n')
  const [finding] = beside([BY_HAND], undefined, {
    bootLines: parseBootLines('/etc/network/interfaces', text),
  })
  expect(finding?.restsOn[1]).toMatch(/^\/etc\/network\/interfaces:3: post-up {3}iptables/)
  expect(finding?.fix).toEqual([`${DELETE} && sed -i '3{/^[^#]*tables/s/^/# /}' /etc/network/interfaces`])
})
