/** Programs that put their NAT rules back, by what their rules say. */
const KEEPERS: readonly [program: string, mark: RegExp][] = [
  ['Docker', /DOCKER|\bdocker|\bbr-[0-9a-f]{12}\b/],
  ['libvirt', /LIBVIRT|\blibvirt|\bvirbr\d/],
  ['podman', /NETAVARK|\bnetavark|\bpodman|\bCNI-|\bcni\d/],
  ['firewalld', /\bfirewalld\b/],
]

/** The program that made the rule of a line, where it is known. */
export function keeperOf(line: string): string | undefined {
  return KEEPERS.find(([, mark]) => mark.test(line))?.[0]
}
