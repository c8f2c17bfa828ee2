/** The options of each kind of file. */
import { describe, expect, test } from 'vitest'
import type { FileKind } from '../../src/fw/read.ts'
import { read } from './context.ts'

describe('options', () => {
  test.each<[FileKind, string, Record<string, unknown>]>([
    ['vm', 'ENABLE:1', { enable: 1 }],
    ['vm', 'policy_in:  drop', { policy_in: 'DROP' }],
    ['vm', 'log_level_in:', { log_level_in: '' }],
    ['vm', 'log_level_in: INFO', { log_level_in: 'info' }],
    ['ct', 'ips_queues: 1:3', { ips_queues: '1:3' }],
    ['ct', 'layer2_protocols: ARP,IPv4', { layer2_protocols: 'ARP,IPv4' }],
    ['host', 'nf_conntrack_max: 0065536', { nf_conntrack_max: 65536 }],
    ['host', 'nftables: 1', { nftables: 1 }],
    ['host', 'nf_conntrack_helpers: FTP,sip', { nf_conntrack_helpers: 'ftp,sip' }],
    ['cluster', 'policy_forward: ACCEPT', { policy_forward: 'ACCEPT' }],
    ['cluster', 'log_ratelimit: enable=1,rate=1/second', { log_ratelimit: 'enable=1,rate=1/second' }],
    ['vnet', 'log_level_forward: nolog', { log_level_forward: 'nolog' }],
  ])('%s: %s', (kind, line, options) => {
    expect(read(kind, '[OPTIONS]', line)).toMatchObject({ options, skipped: [] })
  })

  test.each<[FileKind, string]>([
    ['vm', 'enable: 1 # x'],
    ['vm', 'enable : 1'],
    ['vm', 'enable: 2'],
    ['vm', 'enable:'],
    ['vm', 'nftables: 1'],
    ['vm', 'policy_forward: DROP'],
    ['vm', '__proto__: 1'],
    ['vm', 'log_level_in: loud'],
    ['host', 'nf_conntrack_helpers: ftp,'],
    ['cluster', 'LOG_RATELIMIT: x'],
    ['cluster', 'dhcp: 1'],
    ['vnet', 'policy_forward: REJECT'],
    ['vnet', 'log_level_forward:'],
    ['vnet', 'enable'],
  ])('%s does not take %s', (kind, line) => {
    const file = read(kind, '[OPTIONS]', line)
    expect(file.options).toEqual({})
    expect(file.skipped.map(({ reason }) => reason)).toEqual([`can't parse option '${line}'`])
  })
})
