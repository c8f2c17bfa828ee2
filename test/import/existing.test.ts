// Rules by hand beside a rule of the .fw files that has the same port already.
import { expect, test } from 'vitest'
import { importLines, save, says } from './saved.ts'

test.each([
  ['IN SSH(ACCEPT) # NAT 822', 'built in: 105.fw:6 does the same', 0],
  ['IN ACCEPT -p tcp -dport 22 # NAT 820-830', 'built in: 105.fw:6 does the same', 0],
  ['IN ACCEPT -p tcp -dport 20:24 # NAT 820-824', 'built in: 105.fw:6 does the same', 0],
  // Never a rule of the node, which would take the port from this one.
  ['IN ACCEPT -p tcp -dport 20:24 # NAT 821-825', 'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822', 1],
  [
    'IN SSH(ACCEPT) -source 198.51.100.7 # NAT 822',
    'firewall/105.fw IN ACCEPT -p tcp -dport 22 # NAT 822',
    1,
  ],
])('beside %s', async (there, expected, errors) => {
  const file = `[OPTIONS]\nenable: 1\n\n[RULES]\n\n${there}\n`
  const dnat = `-A PREROUTING -i vmbr0 -p tcp -m tcp --dport 822 -j DNAT --to-destination 10.10.10.105:22`
  const found = await importLines(save([dnat]), undefined, { 'firewall/105.fw': file })
  expect(says(found)).toEqual([expected])
  expect(found.all[0]?.tried?.problems.filter(({ isError }) => isError).length ?? 0).toBe(errors)
})

test('a rule of the node that is there is that rule', async () => {
  const line = 'IN ACCEPT -dest 10.10.10.105 -p tcp -dport 80 # NAT 85'
  const dnat = '-A PREROUTING -i vmbr0 -p tcp -m tcp --dport 85 -j DNAT --to-destination 10.10.10.105:80'
  for (const mark of ['', '|']) {
    const file = `[OPTIONS]\nenable: 1\n\n[RULES]\n\n${mark}${line}\n`
    const found = await importLines(save([dnat]), undefined, { 'firewall/cluster.fw': file })
    expect(says(found)).toEqual([`firewall/cluster.fw ${line}`])
    expect(found.all[0]?.tried?.there).toMatchObject({ isOn: mark === '' })
  }
})
