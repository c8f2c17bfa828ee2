/** A wrong rule, what check says of it, and the rule that is right: what both tables of them are made of. */
export const CLUSTER = 'firewall/cluster.fw'
export const [FW_105, FW_107, FW_108] = ['105', '107', '108'].map((vmid) => `firewall/${vmid}.fw`) as [
  string,
  string,
  string,
]
export const HOST = 'nodes/pve1/host.fw'
export const SETTINGS = 'pvenat.conf'
export const SSH = '-p tcp -dport 22'

export interface Typed {
  /** 105.fw by default. */
  file?: string
  wrong: string
  /** What the help, or the sentence where there is none, says. */
  says: RegExp
  right: string | ((help: string) => string)
  /** Another line that the help asks for: its file, as it was, as it is then. */
  also?: [file: string, from: string, to: string]
  /** By default the internet asks for the last number of the right comment at the node. */
  ask?: { from?: string; as?: string; to: string }
  before?: object | 'none'
  after?: object | 'none'
}

/** What stands behind a label in a help line. */
export const behind =
  (label: string) =>
  (help: string): string =>
    help.slice(help.lastIndexOf(label) + label.length)
export const IN = (words: string): string => `IN ACCEPT ${SSH} # ${words}`
/** A rule of the datacenter for guest 105. */
export const TO_105 = (words: string): string => `IN ACCEPT -dest 10.10.10.105 ${SSH} # ${words}`
/** Guest 107 calls the internet; nothing translates it but the rule. */
export const OUT_107 = (port: number): { from: string; to: string } => ({
  from: '107',
  to: `203.0.113.1:${port}`,
})
export const LET_OUT = { seenAs: '203.0.113.2' }
export const [ANSWERS, NOT] = [{ server: '105' }, 'none'] as const
