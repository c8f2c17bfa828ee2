// Who holds what, told from the acts of owners alone. As atoms: `ADDRESS PORT CLIENTS`, `ADDRESS all`, `ADDRESS snat`, `ADDRESS inner`
import { formatRange } from '../../src/address.ts'
import { GRACE_SECONDS } from '../../src/nat/node-ports.ts'
import { CONFIRM_SECONDS, type Right } from '../../src/nat/rights.ts'
import type { Outcome } from '../../src/pipeline.ts'
import { MAIN, OTHER, PORTS, VMIDS, type Guest, type Line, type Node, type Vmid } from './tenants.ts'

export function atomsOf({
  proto,
  ports,
  source,
  at,
}: Pick<Right, 'proto' | 'ports' | 'source' | 'at'>): string[] {
  if (!ports) return at.map((one) => `${one} ${proto}`)
  const all = Array.from({ length: ports[1] - ports[0] + 1 }, (_, i) => ports[0] + i)
  return at.flatMap((one) => all.map((port) => `${one} ${port} ${source === 'any' ? 'any' : 'client'}`))
}

/** What is in force, by guest. */
export function grantedIn({ translation: { dispatch, rules } }: Outcome): Map<string, number[]> {
  const granted = new Map<string, number[]>()
  const add = (vmid: number, atom: string): void => {
    const all = granted.get(atom) ?? []
    if (!all.includes(vmid)) granted.set(atom, [...all, vmid])
  }
  const { common, addresses } = dispatch[4]
  for (const one of addresses)
    for (const { rule, proto, ports, source, full, inner } of [
      ...one.special,
      ...(one.common ? common : []),
    ]) {
      if (rule.scope.kind !== 'guest') continue
      const { vmid } = rule.scope.guest
      const key = source.ranges === 'any' ? 'any' : 'client'
      const right = { proto: full ? 'all' : proto, ports, source: key, at: [formatRange(one.address)] }
      for (const atom of atomsOf(right)) add(vmid, atom)
      add(vmid, `${formatRange(inner)} inner`)
    }
  for (const { state, scope, egresses, forwards } of rules)
    for (const { source, to } of state === 'active' && scope.kind === 'guest' ? egresses : []) {
      const { vmid } = (scope as { guest: { vmid: number } }).guest
      for (const range of source.ranges === 'any' ? [] : source.ranges)
        add(vmid, `${formatRange(range)} inner`)
      if (to && !forwards.some(({ full }) => full)) add(vmid, `${formatRange(to)} snat`)
    }
  return granted
}

/** Ports of others and of the node that lead to who has all of the address. */
export function takenByFulls(
  { translation: { dispatch } }: Outcome,
  others: ReadonlyMap<string, number[]>,
): string[] {
  return dispatch[4].addresses.flatMap(({ address: at, special, common }) =>
    [...special, ...(common ? dispatch[4].common : [])].flatMap(({ full, except, rule: { scope } }) => {
      if (!full || scope.kind !== 'guest') return []
      return PORTS.flatMap((port) => {
        const holders = others.get(`${formatRange(at)} ${port}`) ?? []
        const isOut = except.some(({ ports }) => ports && ports[0] <= port && port <= ports[1])
        return isOut || holders.every((one) => one === scope.guest.vmid)
          ? []
          : [`${scope.guest.vmid}: ${port}`]
      })
    }),
  )
}

/** The part of an atom that two holders must not share; a port and all of its address are settled by which came first. */
function placesOf(atom: string): string[] {
  const [at, what = ''] = atom.split(' ')
  if (what === 'snat') return [`${at} all`]
  return what === 'all' ? [`${at} all`, `${at} snat`] : [`${at} ${what}`]
}

export class Model {
  /** By VMID. */
  readonly held = new Map<number, Set<string>>()
  private readonly had = new Map<string, Set<number>>()
  private readonly since = new Map<number, number>()
  private readonly life = new Map<number, number>()
  /** The node's ports, and until when. */
  readonly nodePorts = new Map<number, number>()

  /** What owners gave up, as far as it can be seen now. */
  see(node: Node, read: ReadonlyMap<Vmid, string>, now: number): void {
    for (const vmid of VMIDS) {
      const guest = node.guests[vmid]
      const own = this.held.get(vmid)
      if (!own || own.size === 0) {
        this.since.delete(vmid)
        continue
      }
      const isMissing =
        guest.place === 'forgotten' ||
        (guest.place === 'here' && (guest.file === 'missing' || !read.has(vmid)))
      if (guest.place !== 'forgotten' && this.life.get(vmid) !== guest.life) own.clear()
      if (isMissing) {
        const since = this.since.get(vmid) ?? now
        this.since.set(vmid, since)
        if (now - since >= CONFIRM_SECONDS) own.clear()
        continue
      }
      this.since.delete(vmid)
      if (guest.place === 'elsewhere' || guest.file === 'unreadable') continue
      const asked = guest.isOn ? guest.lines.filter(({ isOn }) => isOn) : []
      for (const atom of own) if (!isAsked(atom, asked, guest)) own.delete(atom)
    }
    for (const [port, until] of this.nodePorts) if (until <= now) this.nodePorts.delete(port)
    for (const [port, until] of this.nodePorts)
      if (until === Infinity) this.nodePorts.set(port, now + GRACE_SECONDS)
    if (node.listens !== undefined) this.nodePorts.set(node.listens, Infinity)
  }

  grant(granted: ReadonlyMap<string, readonly number[]>, node: Node): void {
    for (const [atom, all] of granted)
      for (const vmid of all) {
        this.held.set(vmid, (this.held.get(vmid) ?? new Set()).add(atom))
        this.had.set(atom, (this.had.get(atom) ?? new Set()).add(vmid))
        this.life.set(vmid, node.guests[vmid as Vmid].life)
      }
  }

  /** The state is lost, and with it since when guests are missing, and what the node had. */
  forget(): void {
    this.since.clear()
    this.nodePorts.clear()
  }

  hadBefore(atom: string, vmid: number): boolean {
    return [...(this.had.get(atom) ?? [])].some((one) => one !== vmid)
  }

  /** Who holds ports that do not lead to them now, by `ADDRESS PORT`; the node is 0. */
  unserved(granted: ReadonlyMap<string, readonly number[]>): Map<string, number[]> {
    const found = new Map<string, number[]>()
    const add = (key: string, holder: number): void =>
      void found.set(key, [...(found.get(key) ?? []), holder])
    for (const port of this.nodePorts.keys()) for (const at of [MAIN, OTHER]) add(`${at} ${port}`, 0)
    for (const [vmid, atoms] of this.held)
      for (const atom of atoms) {
        const [at = '', port = ''] = atom.split(' ')
        if (/^\d+$/.test(port) && !granted.get(atom)?.includes(vmid)) add(`${at} ${port}`, vmid)
      }
    return found
  }

  /** The guests besides that one that hold something which an atom needs. */
  others(atom: string, vmid: number): number[] {
    const places = placesOf(atom)
    const [at, what = ''] = atom.split(' ')
    const own = this.held.get(vmid)
    const isOwn = own?.has(atom) || own?.has(`${at} ${what} any`)
    return [...this.held].flatMap(([other, atoms]) => {
      const isHeld = [...atoms].some(
        (one) =>
          placesOf(one).some((place) => places.includes(place)) &&
          !(one.endsWith(' snat') && what === 'snat'),
      )
      // All of an address is what others have left of it.
      const isWhole = /^\d+$/.test(what) && atoms.has(`${at} all`) && !isOwn
      return other !== vmid && (isHeld || isWhole) ? [other] : []
    })
  }
}

function isAsked(atom: string, asked: readonly Line[], { ip: own }: Guest): boolean {
  const [at, what = '', clients] = atom.split(' ')
  if (what === 'all') return asked.some(({ kind }) => kind === 'full')
  if (what === 'snat') return asked.some(({ kind }) => kind === 'snat')
  if (what === 'inner')
    return asked.some(({ inner }) => inner === at) || (asked.length > 0 && (own === undefined || own === at))
  return asked.some(
    ({ kind, from, width, address: named, isForClient }) =>
      kind === 'ports' &&
      from <= Number(what) &&
      Number(what) <= from + width &&
      (named === undefined || named === at) &&
      (!isForClient || clients === 'client'),
  )
}

/** What a guest asks for that is nobody's and that nobody else asks for: it is to be in force. */
export function dueIn(node: Node, model: Model): [atom: string, vmid: Vmid][] {
  if (!node.hasRoute || !node.isDatacenterOn) return []
  return VMIDS.flatMap((vmid) => {
    const { place, file, isOn, ip: own, lines: all } = node.guests[vmid]
    const rest = VMIDS.filter((one) => one !== vmid).map((one) => node.guests[one])
    // What cannot be read may still ask for what it asked for before.
    if (rest.some((other) => other.file === 'unreadable')) return []
    const otherLines = rest.flatMap((other) => (other.isOn ? other.lines.filter((one) => one.isOn) : []))
    const isOwn =
      own !== undefined &&
      model.others(`${own} inner`, vmid).length === 0 &&
      rest.every((other) => other.ip !== own) &&
      otherLines.every(({ inner }) => inner !== own)
    if (place !== 'here' || file !== 'there' || !isOn || !isOwn) return []
    const meets = (a: Line, b: Line): boolean =>
      [a, b].some(({ kind }) => kind === 'full') || (a.from <= b.from + b.width && b.from <= a.from + a.width)
    return all
      .filter(({ isOn: on, inner }) => on && inner === undefined)
      .flatMap((one): string[] => {
        const { kind, from, width, isForClient } = one
        const at = [MAIN, ...(node.hasOther ? [OTHER] : [])]
        const named = at.filter((external) => (one.address ?? external) === external)
        const others = otherLines.filter((other) => other.kind !== 'out')
        if (kind === 'full') return others.length === 0 && node.hasOther ? [`${OTHER} all`] : []
        const isAlone = [...others, ...all.filter((own) => own !== one && own.kind !== 'out')].every(
          (line) => line.kind !== 'snat' && !meets(one, line),
        )
        const ports = Array.from({ length: width + 1 }, (_, i) => from + i)
        if (kind !== 'ports' || !isAlone || ports.some((port) => model.nodePorts.has(port))) return []
        return named.flatMap((external) =>
          ports.map((port) => `${external} ${port} ${isForClient ? 'client' : 'any'}`),
        )
      })
      .filter((atom) => model.others(atom, vmid).length === 0)
      .map((atom): [string, Vmid] => [atom, vmid])
  })
}
