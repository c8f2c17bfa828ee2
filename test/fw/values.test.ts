/** Port lists, address literals, and the two files of /etc. */
import { describe, expect, test } from 'vitest'
import { judgeAddressList } from '../../src/fw/addresses.ts'
import { parseProtocols, parseServices } from '../../src/fw/etc.ts'
import { parsePortList } from '../../src/fw/ports.ts'
import { etc } from './context.ts'

describe('ports', () => {
  test('numbers, ranges and names become ranges', () => {
    expect(parsePortList('80,0443:500,ssh', etc.services)).toEqual({ ports: [[80, 80], [443, 500], [22, 22]] }) // prettier-ignore
    expect(parsePortList('0', etc.services)).toEqual({ ports: [[0, 0]] })
  })

  test.each([
    ['70000:80', "invalid port '70000'"],
    ['80:70000', "invalid port '70000'"],
    ['9:8', "backwards range '9:8' not allowed, did you mean '8:9'?"],
    [',', 'extraneous commas in list'],
    ['1,ssh:2', "invalid port 'ssh:2'"],
    ['echo-request', "invalid port 'echo-request'"],
    ['constructor', "invalid port 'constructor'"],
  ])('%s is an error', (text, error) => {
    expect(parsePortList(text, etc.services)).toEqual({ error })
  })

  test('names of icmp types pass when asked for, but not beside numbers', () => {
    expect(parsePortList('echo-request', etc.services, true)).toEqual({ ports: [] })
    expect(parsePortList('echo-request,8', etc.services, true)).toEqual({
      error: 'ICMP ports not allowed in port range',
    })
  })
})

describe('addresses', () => {
  test.each([
    ['1:2:3:4:5:6:7:8', 6], ['::', 6], ['1::', 6], ['1:2:3:4:5:6::8', 6], ['::1.2.3.4', 6], ['1:2:3:4:5:6:1.2.3.4', 6], ['1:2:3:4:5:6::1.2.3.4', 6], ['::/0', 6], ['fe80::/10', 6],
    ['255.255.255.255', 4], ['1.2.3', 4], ['1.2.3.4/255.0.0.0', 4], ['10.0.0.0-10.0.0.0', 4], ['128.0.0.0/1', 4],
    ['fd00::1-fd00:1:2:3:4:5:6::', 6], ['fd00::1-fd00::2:', 6], ['::1-::1.2.3.4', 6],
    ['+anything,goes', undefined], ['ab', undefined],
  ])('%s passes', (text, version) => {
    expect(judgeAddressList(text)).toEqual(version === undefined ? {} : { version })
  }) // prettier-ignore

  test.each([
    '1.2.3.4.5', '1..2', '.1', '1.', '256', '1.2.3.0000', '10.0.0.1-10.0.0.300', '10.0.0.1-', '-1', '10.0.0.1-::1',
    '::1-10.0.0.1', ':1', '1:', '1:::2', '1::2::3', '1:2:3', '1:2:3:4:5:6:7:8:9', '::12345', '1:2:3:4:5:6:7:1.2.3.4',
    '::ffff:1.2.3.4:1', 'fe80::1/10', '::/129', '64.0.0.0/1', ',1.1.1.1', '1.1.1.1,,1.1.1.1', '10.0.0.1 ',
    'fd00:1:2:3:4:5:6::', 'fd00::1-12345::', 'fd00::2-:fd00::1', '1.1.1.1,ab', 'sdn/ab', `a${'b'.repeat(64)}`, `dc/${'b'.repeat(62)}`, `+${'b'.repeat(65)}`,
  ])('%s is an error', (text) => {
    expect(judgeAddressList(text)).toEqual({ error: expect.any(String) as string })
  }) // prettier-ignore

  test.each([
    ['1.2.3.4.5', 'Invalid IP address 1.2.3.4.5'],
    ['10.0.0.1-10.0.0.0300', 'Not a valid IPv4 address 10.0.0.0300'],
    ['010.0.0.9-10.0.0.1', 'Begin address is greater than End address 10.0.0.9 - 10.0.0.1'],
    ['1:2:3', 'Invalid number of octets 1:2:3'],
    ['fd00::1-fd00::1::2', 'Too many :: in ip'],
    ['fd00::1-fd00:1:2', 'Invalid number of octets fd00:0001:0002'],
    ['::1.2.3.0000', 'Bad IP address ::1.2.3.0000'],
  ])('%s is refused in the words of Net::IP', (text, message) => {
    expect(judgeAddressList(text)).toEqual({ error: `invalid IP address: ${message}` })
  })

  test('lengths are counted with prefix', () => {
    expect(judgeAddressList(`dc/${'b'.repeat(61)}`)).toEqual({})
    expect(judgeAddressList(`+${'b'.repeat(64)}`)).toEqual({})
  })
})

describe('/etc', () => {
  test('services: first column, tcp, udp or sctp; the last line wins', () => {
    const text = '# c\n\nhttp\t80/tcp\twww # x\nftp 21/tcp\nftp 22/udp\nx 5/ddp\n bad 1/tcp\n'
    expect([...parseServices(text)]).toEqual([['http', 80], ['ftp', 22]]) // prettier-ignore
  })

  test('protocols: first column and number', () => {
    expect([...parseProtocols('# c\ntcp\t6\tTCP\nicmp 1\nbad x\n')]).toEqual(['tcp', '6', 'icmp', '1'])
  })
})
