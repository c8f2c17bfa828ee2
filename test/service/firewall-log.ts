/** /var/log/pve-firewall.log as the GUI reads it: pve-firewall's Helpers.pm (`dump_fw_logfile`), VM.pm and Host.pm, in their own steps. */

/** The lines of Guest > Firewall > Log; without a VMID those of Node > Firewall > Log. */
export function guiLines(text: string, vmid?: number): string[] {
  const lines = text.split('\n').slice(0, -1)
  return vmid === undefined ? lines : lines.filter((line) => new RegExp(`^${vmid} `).test(line))
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')

/** The time that the reader takes words 4 and 5 for when the user picks a span; seconds since 1970. */
export function timeOf(line: string): number {
  const [, , , date = '', zone = ''] = line.split(' ')
  const [, day, month = '', year, hour, minute, second] =
    /^(\d\d)\/(\w{3})\/(\d{4}):(\d\d):(\d\d):(\d\d)$/.exec(date) ?? []
  const [, sign, hours, minutes] = /^([+-])(\d\d)(\d\d)$/.exec(zone) ?? []
  const utc = Date.UTC(+year!, MONTHS.indexOf(month), +day!, +hour!, +minute!, +second!) / 1000
  return utc - (sign === '-' ? -1 : 1) * (+hours! * 3600 + +minutes! * 60)
}
