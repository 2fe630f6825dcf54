//! What the public record says about evasions, cell by cell.
//!
//! A cell that stands here was measured or reported; a cell that stands in [`SILENT`] was looked for and
//! not found; all others were never asked. The two are kept apart so that "unknown" is a statement.

/// One recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// evasions or protocols it holds for
    pub rows: &'static [&'static str],
    /// mechanisms and years
    pub columns: &'static [&'static str],
    /// the traffic survives
    pub survives: bool,
    /// kind of source
    pub tag: char,
    /// how surely
    pub confidence: &'static str,
    /// where
    pub source: &'static str,
}

const IMC21: &str =
    "Xue et al., IMC 2021, doi:10.1145/3487552.3487858; https://censoredplanet.org/throttling";
const IMC22: &str = "Xue et al., IMC 2022, https://ensa.fi/papers/tspu-imc22.pdf";
const N4P_65: &str = "https://github.com/net4people/bbs/issues/65";
const N4P_108: &str = "https://github.com/net4people/bbs/issues/108";
const FOCI25: &str = "Niere et al., FOCI 2025, https://www.petsymposium.org/foci/2025/foci-2025-0016.pdf";
const FOCI26: &str = "Heitmann et al., FOCI 2026, https://www.petsymposium.org/foci/2026/foci-2026-0010.pdf";
const TDESKTOP: &str = "telegramdesktop/tdesktop issues 30733, 30734; telemt 617";
const N4P_490: &str = "https://github.com/net4people/bbs/issues/490";
const N4P_516: &str = "https://github.com/net4people/bbs/issues/516, /579";
const MUELLER: &str = "Müller et al. 2024 (AS50867)";
const GENEVA: &str = "Bock et al., Geneva, CCS 2019, https://geneva.cs.umd.edu/papers/geneva_ccs19.pdf";
const COME_AS: &str = "Bock et al., Come as You Are, SIGCOMM 2020 (recalled); https://corpus.lantern.io/";

const VPN: &str = "https://github.com/net4people/bbs/issues/76, /83, /274";
const N4P_363: &str = "https://github.com/net4people/bbs/issues/363";
const N4P_603: &str = "https://github.com/net4people/bbs/issues/603";
const N4P_657: &str = "https://github.com/net4people/bbs/issues/657";
const CALLS: &str = "regulator's statement of 13 Aug 2025 in the press; OONI Explorer, stunreachability";
const ZOHAIB: &str =
    "Zohaib et al., USENIX Security 2025, https://gfw.report/publications/usenixsecurity25/en/";
const BOCK: &str = "Bock et al., FOCI 2020, https://www.usenix.org/conference/foci20/presentation/bock";

const fn said(
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    survives: bool,
    tag: char,
    confidence: &'static str,
    source: &'static str,
) -> Recorded {
    Recorded { rows, columns, survives, tag, confidence, source }
}

/// Columns of whole profiles from the mass blocking of August 2023 on.
const SINCE_2023: &[&str] = &["RU-2023-09", "RU-2024-09", "RU-2024-12", "RU-2025-07", "RU-2025-11"];
const NAMES_2022: &[&str] = &["M1-2022", "M2-2022", "M3-2022", "M4-2022"];
/// How many segments a reassembling box follows is not recorded beyond two and beyond an MSS of 88.
const IN_TWO: &[&str] = &["split_name", "split_first"];
const SEGMENTED: &[&str] = &["split_name", "split_first", "split_many"];

/// All that is recorded.
pub const RECORDED: &[Recorded] = &[
    // Undisguised traffic: what each mechanism is.
    said(&["plain"], &["M8-2021"], false, 'P', "high", IMC21),
    said(&["plain"], NAMES_2022, false, 'P', "high", IMC22),
    said(&["plain"], &["M11-2024", "M11-2026"], false, 'K', "high", FOCI25),
    said(&["plain"], &["M12-2025"], false, 'F', "high", N4P_490),
    said(&["plain"], &["M17-2026"], false, 'F', "medium-high", TDESKTOP),
    said(&["plain"], &["M24-2025"], false, 'F', "high", N4P_516),
    said(
        &["plain"],
        &["M22"],
        false,
        'K',
        "high",
        "Ramesh et al., NDSS 2020, https://censoredplanet.org/russia",
    ),
    said(&["quic_v1"], &["M6-2022"], false, 'P', "high", N4P_108),
    said(&["quic_v1"], &["M7-2026"], false, 'S', "medium-high", FOCI26),
    // Segmentation.
    said(SEGMENTED, &["M8-2021"], true, 'P', "high", IMC21),
    said(SEGMENTED, NAMES_2022, true, 'P', "high", IMC22),
    said(IN_TWO, &["M11-2024"], false, 'K', "medium", FOCI25),
    said(IN_TWO, &["M17-2026"], false, 'F', "medium-high", TDESKTOP),
    said(&["mss_clamp"], &["M17-2026"], false, 'F', "medium-high", TDESKTOP),
    // Records.
    said(&["record_split", "record_split_first"], &["M8-2021"], true, 'P', "high", IMC21),
    said(&["record_split"], NAMES_2022, true, 'P', "high", IMC22),
    said(&["record_split"], &["M11-2024"], false, 'K', "medium", FOCI25),
    said(&["record_and_tcp_split"], &["M11-2024"], true, 'K', "medium", FOCI25),
    said(&["ccs_first"], &["M8-2021"], true, 'P', "high", IMC21),
    said(&["ccs_first"], NAMES_2022, true, 'P', "high", IMC22),
    // Padding beyond one MSS.
    said(&["hello_padded"], &["M8-2021"], true, 'P', "high", IMC21),
    said(&["hello_padded"], NAMES_2022, true, 'P', "high", IMC22),
    said(&["hello_padded"], &["M1-2024"], false, 'F', "medium", N4P_65),
    // The 2021 throttler alone.
    said(&["junk_first_ttl"], &["M8-2021"], true, 'P', "high", IMC21),
    said(&["name_trailing_dot"], &["M8-2021"], true, 'P', "high", IMC21),
    said(&["fake_ttl", "fake_badsum", "rst_ttl", "fin_ttl"], &["M8-2021"], false, 'P', "high", IMC21),
    // Fragments.
    said(&["ipfrag", "ipfrag_disorder", "ipfrag_8", "ipfrag_45"], NAMES_2022, true, 'P', "high", IMC22),
    said(&["ipfrag_46"], NAMES_2022, false, 'P', "high", IMC22),
    // Servers that help.
    said(&["small_window", "split_handshake"], NAMES_2022, true, 'P', "high", IMC22),
    said(&["small_window"], &["KZ-names"], true, 'R', "medium", COME_AS),
    // ECH.
    said(&["ech"], NAMES_2022, true, 'P', "high", IMC22),
    // QUIC.
    said(&["quic_v2", "quic_draft_29", "quic_other_port"], &["M6-2022"], true, 'P', "high", IMC22),
    said(&["quic_v1_1000", "quic_junk_first"], &["M6-2022"], true, 'F', "high", N4P_108),
    said(&["quic_v1_1001"], &["M6-2022"], false, 'P', "high", N4P_108),
    said(&["quic_v2"], &["M7-2026"], true, 'S', "medium-high", FOCI26),
    // Budgets.
    said(&["new_connections"], &["M12-2025"], true, 'F', "high", N4P_490),
    // The operators' HTTP filter.
    said(&["http_second_request", "split_name"], &["M22"], true, 'K', "high", MUELLER),
    // Whitelists by address look at no name.
    said(&["fronting"], &["M24-2025"], false, 'F', "medium", N4P_516),
    // Protocols by year.
    said(&["wireguard", "openvpn_udp", "ike_esp"], SINCE_2023, false, 'F', "high", VPN),
    said(&["amneziawg"], SINCE_2023, true, 'F', "medium", VPN),
    said(&["wireguard"], &["RU-2021-05", "RU-2022-03"], true, 'F', "medium", VPN),
    said(&["tls"], &["RU-2021-05"], true, 'P', "high", IMC21),
    said(&["tls"], &["RU-2022-03"], true, 'P', "high", IMC22),
    said(&["tls_facebook"], &["RU-2022-03"], false, 'P', "high", IMC22),
    said(&["quic_v1", "quic_v1_facebook"], &["RU-2022-03"], false, 'P', "high", N4P_108),
    said(&["quic_v2_facebook"], &["RU-2022-03"], true, 'P', "high", IMC22),
    said(&["quic_v1_facebook"], &["RU-2026-04", "RU-2026-09"], false, 'S', "medium-high", FOCI26),
    said(&["quic_v1", "quic_v2_facebook"], &["RU-2026-04", "RU-2026-09"], true, 'S', "medium-high", FOCI26),
    said(&["tls_ech"], &["RU-2024-09"], true, 'K', "high", FOCI25),
    said(&["tls_ech"], &["RU-2024-12"], false, 'K', "high", FOCI25),
    said(&["tls_hosting"], &["RU-2025-07"], false, 'F', "high", N4P_490),
    said(&["tls_hosting"], &["RU-2024-12"], true, 'F', "high", N4P_490),
    said(&["ssh_hosting"], &["RU-2025-07"], true, 'F', "medium", N4P_490),
    said(&["shadowsocks_443"], &["RU-2024-09"], false, 'F', "medium", N4P_363),
    said(&["shadowsocks_5555"], &["RU-2024-09"], true, 'F', "medium", N4P_363),
    said(&["mtproxy_0xfe02"], &["RU-2026-04"], false, 'F', "medium-high", TDESKTOP),
    said(&["mtproxy_chrome"], &["RU-2026-09"], false, 'F', "medium-high", TDESKTOP),
    said(&["snowflake_pion"], &["RU-2026-04", "RU-2026-09"], false, 'F', "medium-high", N4P_603),
    said(
        &["snowflake_random", "snowflake_dtls13"],
        &["RU-2026-04", "RU-2026-09"],
        true,
        'F',
        "medium-high",
        N4P_603,
    ),
    said(&["call_telegram", "call_whatsapp"], &["RU-2025-11"], false, 'F', "medium", CALLS),
    said(&["call_telegram", "call_whatsapp"], &["RU-2025-07"], true, 'F', "medium", CALLS),
    said(&["call_other"], &["RU-2025-11"], true, 'F', "medium", CALLS),
    said(&["dns_udp"], &["RU-dns"], false, 'F', "medium-high", N4P_657),
    said(&["dns_tcp"], &["RU-dns"], true, 'F', "medium-high", N4P_657),
    said(&["tls", "ssh", "wireguard", "quic_v1"], &["RU-whitelist"], false, 'F', "high", N4P_516),
    said(&["dns_udp"], &["RU-whitelist"], true, 'F', "medium", N4P_516),
    said(&["quic_v1_facebook"], &["CN-2024"], false, 'P', "high", ZOHAIB),
    said(&["quic_v1_facebook"], &["CN-2022"], true, 'P', "high", ZOHAIB),
    said(&["tls_facebook"], &["CN-2022", "CN-2024"], false, 'P', "high", GENEVA),
    said(&["shadowsocks_443"], &["IR"], false, 'P', "high", BOCK),
    said(&["shadowsocks_5555", "tls", "ssh"], &["IR"], true, 'P', "high", BOCK),
];

/// Cells that were looked for in the record and are not there: "unknown", "not applicable", "–".
pub const SILENT: &[(&str, &str)] = &[
    ("ipfrag", "M8-2021"),
    ("small_window", "M8-2021"),
    ("split_handshake", "M8-2021"),
    ("junk_first_ttl", "M1-2022"),
    ("ccs_first", "M11-2024"),
    ("junk_first_ttl", "M11-2024"),
    ("ipfrag", "M11-2024"),
    ("small_window", "M11-2024"),
    ("split_handshake", "M11-2024"),
    ("record_split", "M17-2026"),
    ("record_and_tcp_split", "M17-2026"),
    ("ccs_first", "M17-2026"),
    ("junk_first_ttl", "M17-2026"),
    ("ipfrag", "M17-2026"),
    ("split_handshake", "M17-2026"),
    ("plain", "M18-2026"),
    ("split_name", "M18-2026"),
    ("split_many", "M11-2024"),
    ("split_many", "M17-2026"),
    ("idle_10_min", "M8-2021"),
    ("quic_two_datagrams", "M7-2026"),
    ("quic_name_absent", "M7-2026"),
];

/// What is recorded of a cell.
pub fn of(row: &str, column: &str) -> Option<&'static Recorded> {
    RECORDED.iter().find(|said| said.rows.contains(&row) && said.columns.contains(&column))
}
