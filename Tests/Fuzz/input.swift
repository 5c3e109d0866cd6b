// An input of a fuzz target as text, and as the files of a tenant.

import PolicyLanguage

/// The input's bytes, with what is no UTF-8 replaced, as reading a file does.
func text(_ start: UnsafePointer<UInt8>?, _ count: Int) -> String {
    unsafe String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
}

/// The input as all files of a tenant; where it brings no catalog, beside one with something of everything.
func files(_ text: String) -> [SourceFile] {
    let input = SourceFile(name: "input.stile", text: text)
    let bytes = Array(text.utf8)
    let word = Array("catalog".utf8)
    let hasCatalog = bytes.indices.contains { bytes[$0...].starts(with: word) }
    return hasCatalog ? [input] : [SourceFile(name: "catalog.stile", text: catalog), input]
}

private let catalog = """
    catalog "ledger" version 2.1.0 {
      assurance password < mfa < phishing_resistant, password < card unreachable card
      issuer "https://id.example" { acr "1" = password acr "2" = mfa }
      entity user {
        department: string = ""
        employment: enum(employee, contractor, vendor) = vendor
        clearance: 0...5 = 0
        manager: user?
        groups_seen: set of string = []
        hired: datetime?
      }
      subject entity agent { owner: user? clearance: 0...5? }
      signal user.risk: enum(low < medium < high) = low from caep "risk-level-change" expires 7d
      signal device.compliant: bool = false from caep "device-compliance-change" expires 24h
      entity folder in folder { secret: bool = false }
      entity payrun in folder {
        total: decimal created_by: user status: enum(draft, final) tags: set of string due: datetime?
        limit: duration = 1h  address: ipaddr?
      }
      entity report in folder { total: decimal = 1 tags: set of string? }
      action read, approve on payrun, report
      action delete on payrun, folder { soft: bool = true count: int? }
      context { ip: ipaddr channel: enum(web, api) = web }
    }
    """
