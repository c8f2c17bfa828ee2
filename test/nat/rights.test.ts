// Rights over files, looks and gaps of every kind, against a model that knows the acts of owners and nothing else.
// RUNS=5000 SEED=1 npx vitest run --project unit test/nat/rights.test.ts
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { listeningPorts } from '../../src/nat/node-ports.ts'
import { parseRights } from '../../src/nat/rights.ts'
import { parseState, withoutRights } from '../../src/node/state.ts'
import { makeCompiler, type Outcome } from '../../src/pipeline.ts'
import type { Look } from '../../src/read.ts'
import { recall, remember } from '../../src/remembered.ts'
import { DEFAULT_SETTINGS } from '../../src/settings.ts'
import { fixture } from '../fw/context.ts'
import { atomsOf, dueIn, grantedIn, Model, takenByFulls } from './holders.ts'
import { GARBAGE, NETWORKS, RESTART, start, steps, treeOf, VMIDS, type Vmid } from './tenants.ts'

const numRuns = Number(process.env['RUNS'] ?? 60)

const sorted = (all: Iterable<string>): string[] => [...new Set(all)].sort()

test(
  'nobody gets what another guest or the node holds, and what is given up can be had',
  { timeout: 300_000 },
  () => {
    const seen = { due: 0, passedOn: 0, kept: 0 }
    fc.assert(
      fc.property(start, steps, (first, all) => {
        const node = structuredClone(first)
        const model = new Model()
        const read = new Map<Vmid, string>()
        let compile = makeCompiler()
        let now = 1_760_000_000
        let [text, saved] = ['', '']
        const look = (): Outcome => {
          const state = withoutRightsUnless(text, saved)
          const tree = treeOf(node, read)
          const ports = node.listens === undefined ? [] : listeningPorts([socket(node.listens)])
          const seenNow: Look = {
            node: 'pve1',
            tree,
            now,
            network: NETWORKS[node.hasRoute ? 0 : 1]?.[node.hasOther ? 0 : 1] as Look['network'],
            settings: DEFAULT_SETTINGS,
            hasProxmoxFirewall: false,
            services: fixture('services'),
            protocols: fixture('protocols'),
            ...recall(state, { tree, node: 'pve1', now }, ports),
          }
          const outcome = compile(seenNow)
          const next = remember(seenNow, outcome)
          text = JSON.stringify({ version: 2, sysctls: {}, endpoints: [], ...next })
          saved = JSON.stringify({ version: 1, ledger: { rights: next.rights, guests: next.guests } })
          return outcome
        }
        const check = (): void => {
          const outcome = look()
          model.see(node, read, now)
          const granted = grantedIn(outcome)
          for (const [atom, holders] of granted)
            for (const vmid of holders) {
              expect([atom, vmid, model.others(atom, vmid)]).toEqual([atom, vmid, []])
              expect([atom, holders]).toEqual([atom, atom.endsWith(' snat') ? holders : [vmid]])
              const [, port] = atom.split(' ')
              expect(model.nodePorts.has(Number(port))).toBe(false)
            }
          for (const [atom, vmid] of dueIn(node, model)) {
            seen.due += 1
            if (model.hadBefore(atom, vmid)) seen.passedOn += 1
            expect([atom, granted.get(atom)]).toEqual([atom, [vmid]])
          }
          for (const [vmid, atoms] of model.held)
            for (const atom of atoms) if (!granted.get(atom)?.includes(vmid)) seen.kept += 1
          expect(takenByFulls(outcome, model.unserved(granted))).toEqual([])
          model.grant(granted, node)
          const ledger = parseRights((JSON.parse(text) as { rights: string[] }).rights)
          for (const vmid of VMIDS) {
            const own = ledger.filter((right) => right.vmid === vmid).flatMap(atomsOf)
            expect([vmid, sorted(own)]).toEqual([vmid, sorted(model.held.get(vmid) ?? [])])
          }
          // Granting is idempotent.
          const again = grantedIn(look())
          expect([...again].sort()).toEqual([...granted].sort())
        }
        check()
        for (const { change: one, seconds, garbage } of all) {
          now += seconds
          one.make(node)
          if (one.name === RESTART) compile = makeCompiler()
          if (one.name === GARBAGE) {
            text = garbage
            model.forget()
          }
          check()
        }
      }),
      { numRuns },
    )
    // It met what it is about.
    for (const [what, times] of Object.entries(seen))
      expect([what, times, times > numRuns / 20]).toEqual([what, times, true])
  },
)

function socket(port: number): Parameters<typeof listeningPorts>[0][number] {
  return { proto: 'tcp', port, inode: '1', holder: 'a service' }
}

function withoutRightsUnless(text: string, saved: string): Parameters<typeof recall>[0] {
  const state = text === '' ? undefined : parseState(text)
  return state?.rights ? state : withoutRights(state, saved)
}
