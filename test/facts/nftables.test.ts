// Rules of nft itself, as the real `nft -j list ruleset` prints them (fixtures/nftables), beside tables of iptables-nft.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { formatRange, parseIp, type Range } from '../../src/address.ts'
import { foreignNat, foreignPlace, mayConcern } from '../../src/facts/foreign.ts'
import { NO_NFTABLES, parseNftables } from '../../src/facts/nftables.ts'

const text = readFileSync('fixtures/nftables/others.json', 'utf8')
const managed = { 4: '# Generated\n*nat\nCOMMIT\n*filter\nCOMMIT\n', 6: '' }
const nothing = { 4: '', 6: '' }
const tables = { legacy: nothing, nft: nothing }

test('tables of iptables-nft are left out, and native ones of the same names are not', () => {
  const names = (saved: { 4: string; 6: string }): string[] => [
    ...new Set(parseNftables(text, saved).chains.map(({ family, table }) => `${family} ${table}`)),
  ]
  expect(names(managed)).toEqual(['ip docker-bridges', 'inet firewalld'])
  // As iptables-nft-save prints a table that it cannot read.
  const incompatible = { 4: "# Table `nat' is incompatible, use 'nft' tool.\n*filter\nCOMMIT\n", 6: '' }
  expect(names(incompatible)).toEqual(['ip nat', 'ip docker-bridges', 'inet firewalld'])
  // iptables 1.8.9 prints chains for it that are not there.
  const phantom = "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n"
  expect(names({ 4: phantom + managed[4], 6: '' })).toEqual(['ip nat', 'ip docker-bridges', 'inet firewalld'])
})

test('NAT of native tables is read with its addresses and ports', () => {
  const found = foreignNat({ tables, nftables: parseNftables(text, managed) })
  const shown = found.map(({ kind, proto, ports, source, destination, isNative, line }) => ({
    line,
    kind,
    isNative,
    of: [proto, ports?.map((range) => range.join('-')).join(), ...[source, destination].map(show)].join(' '),
  }))
  const at = { isNative: true, kind: 'destination' }
  expect(shown).toEqual([
    { ...at, line: 'ip docker-bridges all-dnat handle 9', of: 'tcp 8080-8080  ' },
    {
      ...at,
      line: 'ip docker-bridges all-dnat handle 12',
      of: 'udp 53-53,100-200  10.0.0.0/8,203.0.113.2',
    },
    { ...at, line: 'ip docker-bridges all-dnat handle 13', of: 'tcp 8443-8443  ' },
    { ...at, line: 'ip docker-bridges all-dnat handle 15', of: 'tcp 81-81,82-82  ' },
    { ...at, line: 'ip docker-bridges all-dnat handle 16', of: 'tcp 80-80  ' },
    { ...at, kind: 'source', line: 'ip docker-bridges post handle 31', of: '  172.17.0.0/16 ' },
  ])
  const address = parseIp('203.0.113.2') as Range
  const asked = (ports: [number, number], proto: string): string[] =>
    found
      .filter(({ kind }) => kind === 'destination')
      .filter((rule) => mayConcern(rule, { destination: [address], ports: [ports], proto }))
      .map(foreignPlace)
  expect(asked([80, 80], 'tcp')).toEqual(['nft -a list ruleset: ip docker-bridges all-dnat handle 16'])
  expect(asked([150, 160], 'udp')).toEqual(['nft -a list ruleset: ip docker-bridges all-dnat handle 12'])
  expect(asked([22, 22], 'tcp')).toEqual([])
})

test.each(['', 'nonsense', '{}', '{"nftables": [{"rule": 5}, {"chain": null}, 3]}'])(
  '%s is no table',
  (odd) => expect(parseNftables(odd, nothing)).toEqual(NO_NFTABLES),
)

function show(ranges: readonly Range[] | undefined): string {
  return ranges?.map(formatRange).join() ?? ''
}
