/** Diagnostics that take more than a wrong rule: a service that went, settings of before, a guest that holds an address, an edit. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { fwFile, saveInPlace } from '../lab/index.ts'
import { answeredBy, sendBare } from './bare.ts'
import { CLUSTER, FW_105, FW_107, FW_108, HOST, IN, SETTINGS } from './mistyped.ts'
import type { TestNode } from './node.ts'
import { toldUntil } from './told.ts'

/** Tests of their own, in files that hold no other rules. */
export function stepTests(node: TestNode): void {
  const apply = (...options: string[]) => node.pvenat.run('apply', ...options)
  const isSilent = async (port: number) => expect(typeof (await node.ask(port))).toBe('string')

  describe('steps', () => {
    beforeAll(async () => {
      for (const path of [CLUSTER, FW_107, FW_108, 'firewall/200.fw', HOST]) await node.save(path)
      await node.pvenat.configure()
    })

    test('port-kept: the port of a service that went is handed over when the administrator says so', async () => {
      await node.save(FW_105, IN('NAT 3055'))
      await apply()
      await node.lab.unserve('pve', 'tcp', 3055)
      await apply()
      await isSilent(3055)
      const says = /hands it over now with: pvenat apply --hand-over$/m
      await toldUntil(node.pvenat, 'port-kept', says, () => apply('--hand-over'))
      expect(await node.ask(3055)).toMatchObject({ server: '105' })
    })

    test('settings-unusable: the settings of before stay in force, until the file can be used', async () => {
      await node.pvenat.configure('guest-ports = 4000-4009')
      await node.save(FW_105, IN('NAT 3057'), IN('NAT 4001'))
      const service = await node.pvenat.start()
      await saveInPlace(node.tree, SETTINGS, '\0')
      await service.says(/error\[settings-unusable\].* the settings that it held before stay in force/)
      await isSilent(3057)
      expect(await node.ask(4001)).toMatchObject({ server: '105' })
      await node.pvenat.configure()
      await service.says(/mended\[settings-unusable\]/)
      await node.opens(3057)
      await service.stop()
    })

    test('held: who leaves as an address that another guest holds takes another one', async () => {
      await node.save(FW_105)
      await node.save(FW_107, 'IN ACCEPT # NAT 203.0.113.7 full=1')
      await apply()
      await node.save(FW_105, 'OUT ACCEPT # NAT 203.0.113.7')
      await apply()
      const leaves = () => node.call('105', '203.0.113.1:443')
      expect(typeof (await leaves())).toBe('string')
      await toldUntil(node.pvenat, 'held', /belongs to guest 107, .*\ntake another one/, () =>
        node.save(FW_105, 'OUT ACCEPT # NAT 203.0.113.2'),
      )
      await apply()
      expect(await leaves()).toMatchObject({ seenAs: '203.0.113.2' })
    })

    test('auto-moved: an edit would move a port; written down it stays', async () => {
      const [ssh, below] = [IN('NAT auto'), 'IN ACCEPT -p tcp -dport 2 # NAT auto']
      await node.pvenat.configure('guest-block = 20000-59999/20')
      await node.save(FW_107, ssh, below)
      await apply()
      expect(await node.ask(20143)).toMatchObject({ server: '107', port: 22 })
      const edit = join(node.tree, 'edit/107.fw')
      await mkdir(dirname(edit))
      await writeFile(edit, fwFile(ssh))
      const says = /would give this rule external port 20142, and gives it 20143 now\n.*: NAT 20143$/
      await toldUntil(node.pvenat, 'auto-moved', says, () => writeFile(edit, fwFile(IN('NAT 20143'))), edit)
      for (const [rule, port] of [
        [ssh, 20142],
        [IN('NAT 20143'), 20143],
      ] as const) {
        await node.save(FW_107, rule)
        await apply()
        expect(await node.ask(port)).toMatchObject({ server: '107', port: 22 })
        await isSilent(port === 20142 ? 20143 : 20142)
      }
    })

    test('proto-ports: a protocol without ports is forwarded when the ports are cleared', async () => {
      const asked = async () => {
        await apply()
        await node.sh('conntrack -D -p 47 >/dev/null 2>&1 || true')
        await sendBare(node.lab, '203.0.113.2', 47)
        return answeredBy(node, '-p 47')
      }
      await node.save(FW_105, 'IN ACCEPT -p gre # NAT 3058')
      expect(await asked()).not.toContain('10.10.10.105')
      const says = /protocol gre has no ports.*\nclear the ports in the comment/
      await toldUntil(node.pvenat, 'proto-ports', says, () => node.save(FW_105, 'IN ACCEPT -p gre # NAT'))
      expect(await asked()).toEqual(['10.10.10.105'])
    })
  })
}
