// Which flows of guests wait for an answer that cannot come.
import { expect, test } from 'vitest'
import { parseCidr, type Range } from '../../src/address.ts'
import { unanswered } from '../../src/nat/unanswered.ts'

const net = (text: string): Range => parseCidr(text) as Range
const LAN = net('10.10.10.0/24')

const line = (source: string, destination: string, seenAs: string, isAnswered = false, end = ''): string =>
  `udp      17 29 src=${source} dst=${destination} sport=4000 dport=53 ${isAnswered ? '' : '[UNREPLIED] '}src=${destination} dst=${seenAs} sport=53 dport=4000 mark=0${end} use=1`

test('those that nobody answered, that are untranslated and go out', () => {
  const waits = line('10.10.10.105', '192.0.2.9', '10.10.10.105')
  const others = [
    line('10.10.10.105', '192.0.2.9', '10.10.10.105', true),
    line('10.10.10.105', '192.0.2.9', '203.0.113.2'),
    line('10.10.10.105', '10.10.20.9', '10.10.10.105'),
    line('10.10.30.105', '192.0.2.9', '10.10.30.105'),
    line('10.10.10.105', '192.0.2.9', '10.10.10.105', false, ' zone=1'),
    '',
  ]
  const found = unanswered([waits, ...others], [LAN], [LAN, net('10.10.20.0/24')])
  expect(found).toEqual([
    {
      proto: 'udp',
      source: net('10.10.10.105'),
      destination: net('192.0.2.9'),
      replySource: net('192.0.2.9'),
      sport: 4000,
      dport: 53,
      replySport: 53,
    },
  ])
})

test('TCP that waits for its first answer', () => {
  const text =
    'tcp      6 118 SYN_SENT src=10.10.10.105 dst=192.0.2.9 sport=4001 dport=443 [UNREPLIED] src=192.0.2.9 dst=10.10.10.105 sport=443 dport=4001 mark=0 use=1'
  expect(unanswered([text], [LAN], [])).toMatchObject([{ proto: 'tcp', sport: 4001, dport: 443 }])
})
