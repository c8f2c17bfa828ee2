/** The file of the guest that is edited, and what stands beside it. */

const rules = (...lines: string[]): string => `[OPTIONS]\n\nenable: 1\n\n[RULES]\n\n${lines.join('\n')}\n\n`

/** Files that the edited guest may have. Its :1023 is in none of them, but in host.fw. */
export const EDITS: readonly string[] = [
  rules('IN SSH(ACCEPT) # NAT 1022'),
  rules('IN SSH(ACCEPT) # NAT 2022', 'IN ACCEPT -p udp -dport 7000:7009 # NAT 17000-17009'),
  rules('IN SSH(ACCEPT) # NAT what 1:2:3', 'IN HTTP(ACCEPT) -source 198.51.100.0/25 # NAT 3001'),
  rules('IN SSH(ACCEPT) -source +dc/trusted # NAT 1022', 'IN ACCEPT -p tcp -dport'),
  rules(),
]

/** What host.fw of node1 says with the forward in it that stays. */
export function withForward(host: string): string {
  return `${host}\n[RULES]\n\nIN ACCEPT -dest 10.10.10.105 -p tcp -dport 23 # NAT 1023\n`
}
